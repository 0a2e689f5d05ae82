"""The pipeline as a user runs it, in a folder of its own: whole, again, in part, interrupted."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.configs import CONFIGS

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[1]
TEST_CONFIG = {
    "extends": str(REPO / "workflow/config/mini.yaml"),
    "experiment": "test",
    "task": {"train": 64, "test": 2},
    "policy": {"warm_up": {"steps": 4}},
    "train": {"steps": 2, "prompts": 4, "group": 4, "mini_batches": 2, "max_response_tokens": 24},
    "evaluate": {"engine": "transformers", "samples": 2, "max_response_tokens": 24},
    "methods": {
        "grpo": {"label": "GRPO", "objective": "grpo", "clip_low": 0.2, "clip_high": 0.2},
        "kpo-clipped": {"label": "KPO-clipped", "objective": "kpo", "q": 1e-6},
    },
}


class Workspace:
    """A folder with an experiment file in which snakemake runs this repository's workflow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(REPO / "results/reported", folder / "results/reported")
        self.config = folder / "test.yaml"
        self.write(TEST_CONFIG)

    def write(self, config: object) -> None:
        """Write the experiment file."""
        self.config.write_text(yaml.safe_dump(config))

    def snakemake(self, *args: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run snakemake here; stdout and stderr together."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPO / "Snakefile")]
        command += ["--cores", "2", *args, "--configfile", str(config or self.config)]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(REPO), "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def planned(self, *args: str) -> dict[str, int]:
        """Jobs that a call would run, by rule."""
        run = self.snakemake(*args, "--dry-run", "--quiet", "host")
        assert run.returncode == 0, run.stdout
        jobs: dict[str, int] = {}
        table = run.stdout.partition("\njob ")[2].partition("\n\n")[0]
        for line in table.splitlines()[2:]:
            name, count = line.split()
            jobs[name] = int(count)
        jobs.pop("total", None)
        return jobs

    def digest(self, pattern: str) -> dict[str, str]:
        """Content hashes of the files under results/ that match."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((self.folder / "results").glob(pattern))
        }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("workflow"))
    run = workspace.snakemake("results/table1.csv")
    assert run.returncode == 0, run.stdout
    return workspace


def test_the_table_is_whole(finished: Workspace) -> None:
    with (finished.folder / "results/table1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["base", "grpo", "kpo-clipped"]
    for row in rows:
        for benchmark in ("easy", "medium", "hard", "overall"):
            assert 0 <= float(row[f"{benchmark}_avg@2"]) <= 100
            assert 0 <= float(row[f"{benchmark}_pass@2"]) <= 100
    assert (finished.folder / "results/table1.md").stat().st_size > 0
    assert (finished.folder / "results/table1.tex").stat().st_size > 0


def test_every_job_left_a_log_and_a_benchmark(finished: Workspace) -> None:
    root = finished.folder / "results/test"
    for kind, ending in (("logs", "log"), ("benchmarks", "tsv")):
        names = {str(path.relative_to(root / kind)) for path in (root / kind).rglob(f"*.{ending}")}
        expected = {"problems", "base", "tables", "train/grpo-s0", "sample/base", "grade/base"}
        assert {f"{name}.{ending}" for name in expected} <= names


def test_runs_carry_manifest_settings_and_a_loadable_model(finished: Workspace) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    run = finished.folder / "results/test/runs/kpo-clipped-s0"
    for name in ("manifest.json", "config.yaml", "metrics.jsonl", "timings.jsonl"):
        assert (run / name).stat().st_size > 0
    assert not (run / ".partial").exists()
    assert list((run / "model").glob("*.safetensors"))
    AutoModelForCausalLM.from_pretrained(run / "model")
    AutoTokenizer.from_pretrained(run / "model")


def test_a_second_call_does_nothing(finished: Workspace) -> None:
    assert finished.planned("results/table1.csv") == {}


def test_one_method_reruns_alone(finished: Workspace) -> None:
    plan = finished.planned("results/test/runs/grpo-s0/manifest.json", "--forcerun", "train")
    assert plan == {"train": 1}


def test_a_changed_setting_reruns_its_method_and_the_table_alone(finished: Workspace) -> None:
    methods = TEST_CONFIG["methods"]
    assert isinstance(methods, dict)
    changed = {**methods, "kpo-clipped": {**methods["kpo-clipped"], "q": 1e-4}}
    try:
        finished.write({**TEST_CONFIG, "methods": changed})
        plan = finished.planned("results/table1.csv")
    finally:
        finished.write(TEST_CONFIG)
    assert plan == {"train": 1, "sample": 1, "grade": 1, "tables": 1, "table1": 1}


def test_an_added_method_runs_alone(finished: Workspace) -> None:
    methods = TEST_CONFIG["methods"]
    assert isinstance(methods, dict)
    added = {**methods, "gspo": {"label": "GSPO", "objective": "gspo"}}
    try:
        finished.write({**TEST_CONFIG, "methods": added})
        plan = finished.planned("results/table1.csv")
    finally:
        finished.write(TEST_CONFIG)
    assert plan == {"train": 1, "sample": 1, "grade": 1, "tables": 1, "table1": 1}


def test_another_experiment_touches_nothing_of_this_one(finished: Workspace) -> None:
    try:
        finished.write({**TEST_CONFIG, "experiment": "other"})
        plan = finished.planned("results/table1.csv")
    finally:
        finished.write(TEST_CONFIG)
    assert plan["base"] == 1
    assert finished.planned("results/table1.csv") == {}


def test_the_same_config_gives_the_same_bytes(finished: Workspace, tmp_path: Path) -> None:
    again = Workspace(tmp_path)
    run = again.snakemake("results/table1.csv")
    assert run.returncode == 0, run.stdout
    for pattern in ("table1.*", "test/base/*.safetensors", "test/runs/*/model/*.safetensors"):
        first = finished.digest(pattern)
        first.pop("results/table1.log", None)
        first.pop("results/table1.tsv", None)
        assert first
        assert {name: again.digest(pattern)[name] for name in first} == first
    assert finished.digest("test/runs/*/metrics.jsonl") == again.digest("test/runs/*/metrics.jsonl")


def test_a_failing_job_leaves_no_output(finished: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    shutil.copytree(finished.folder / "results/test/problems", tmp_path / "results/test/problems")
    (tmp_path / "results/test/problems/train.jsonl").write_text('{"problem": "1+1=?", "ans')
    shutil.copytree(finished.folder / "results/test/base", tmp_path / "results/test/base")
    target = "results/test/runs/grpo-s0/manifest.json"
    run = workspace.snakemake(target, "--rerun-triggers", "mtime")
    assert run.returncode != 0
    assert "train.jsonl, line 1" in run.stdout  # the profile shows the failed job's log
    assert not list((tmp_path / "results/test/runs").glob("grpo-s0/[!.]*"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_committed_config_gives_a_plan(config: Path, tmp_path: Path) -> None:
    run = Workspace(tmp_path).snakemake("--dry-run", "results/table1.csv", config=config)
    assert run.returncode == 0, run.stdout
    assert "table1" in run.stdout


def test_a_wrong_config_is_one_sentence_before_any_job(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.write({**TEST_CONFIG, "trian": {}})
    run = workspace.snakemake("results/table1.csv")
    assert run.returncode != 0
    assert "trian: unknown key" in run.stdout
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "results/test").exists()


def test_overrides_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    run = Workspace(tmp_path).snakemake("--dry-run", "results/table1.csv", "--config", "steps=1")
    assert run.returncode != 0
    assert "An experiment is one file" in run.stdout


def test_lint_is_clean() -> None:
    command = [sys.executable, "-m", "snakemake", "--lint"]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
