"""Whole runs by verl's `main_ppo` on a local Ray, with one and two ranks of FSDP2 on the CPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl", reason="verl's environment runs these: make test-integrations")
import ray
import verl

from kpo.common.source_code import python_path
from kpo.integrations.verl.launching import run
from kpo.integrations.verl.writing import PYTHON
from tests.integrations.verl.cpu_platform import ENVIRONMENT
from tests.integrations.verl.whole import make_base, write_experiment
from tests.integrations.verl.written import train_file

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[3]
SUITE = REPO / ".venv/bin/python"
RUN = "kpo-s0"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a base policy, and a Ray cluster that is there already."""
    folder = tmp_path_factory.mktemp("by-verl")
    make_base(folder / "base")
    named = ENVIRONMENT | {PYTHON: sys.executable, "PYTHONPATH": python_path()}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**named, "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # Ray's GPUs are mere numbers
        cluster = ray.init("local", num_cpus=16, num_gpus=2, include_dashboard=False)
        patch.setenv("RAY_ADDRESS", cluster.address_info["gcs_address"])
        yield folder
        ray.shutdown()


@pytest.fixture(scope="module")
def runs(root: Path) -> dict[int, Path]:
    """Folders of finished runs, by their number of ranks."""
    found = {}
    for ranks in (1, 2):
        place = root / f"{ranks}/by-verl"
        place.mkdir(parents=True)
        experiment = write_experiment(place, root / "base", ranks)
        problems = train_file(place / "problems", experiment)
        found[ranks] = place / "runs" / RUN
        run(experiment, "kpo", 0, root / "base", problems, found[ranks])
    return found


def steps_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_ranks_have_the_gradient_of_one(runs: dict[int, Path]) -> None:
    one, two = (steps_of(folder)[0] for folder in runs.values())
    assert 0 < one["reward"] < 1
    assert two["reward"] == pytest.approx(one["reward"])
    assert two["response_tokens"] == pytest.approx(one["response_tokens"])
    assert one["grad_norm"] > 1e-3  # of two passes: in the second, ratios are not 1
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)


def test_the_manifest_names_verl(runs: dict[int, Path]) -> None:
    for ranks, folder in runs.items():
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["engine"]["name"] == "verl"
        assert manifest["engine"]["version"] == verl.__version__
        assert manifest["processes"] == ranks
        assert manifest["learning"]["steps"] == 2
        assert manifest["learning"]["moved_weights"] > 0.5


def test_a_run_goes_through_evaluation_to_a_table(root: Path, runs: dict[int, Path]) -> None:
    if not SUITE.exists():
        pytest.skip("the suite's own environment, which evaluates, is not there: make env")
    folder = runs[2].parents[1]
    config = ["--config", str(folder / "experiment.yaml")]

    def suite(module: str, *options: str | Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        command = [SUITE, "-m", f"kpo.{module}", *options]
        subprocess.run(list(map(str, command)), cwd=REPO, env=environment, check=True)

    problems = folder / "test"
    suite("tasks.generate", *config, "--sets", "easy", "--out", problems)
    for name, model in (("base", root / "base"), (RUN, runs[2] / "model")):
        samples, grades = (folder / f"evals/{name}/{kind}.jsonl" for kind in ("samples", "grades"))
        how = ["--run", name, "--model", str(model), "--problems", str(problems)]
        suite("evals.sample", *config, *how, "--out", samples)
        suite("evals.grade", "--samples", samples, "--out", grades)
    shutil.copytree(REPO / "results/reported", folder.parent / "reported")
    suite("evals.tables", *config, "--results", folder.parent, "--out-dir", folder)
    rows = (folder / "table1.csv").read_text().splitlines()
    assert rows[-1].startswith("KPO,kpo,kpo,")
