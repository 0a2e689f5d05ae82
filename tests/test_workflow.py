"""The pipeline as a user runs it, in a folder of its own: whole, again, in part, interrupted."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.configs import CONFIGS
from tests.workspace import REPO, TEST_CONFIG, Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("workflow"), preloaded=False)
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


def test_every_job_left_a_log_and_its_time(finished: Workspace) -> None:
    root = finished.folder / "results/test"
    for kind, ending in (("logs", "log"), ("timings", "tsv")):
        names = {str(path.relative_to(root / kind)) for path in (root / kind).rglob(f"*.{ending}")}
        expected = {"problems", "base", "tables", "train/grpo-s0", "sample/base", "grade/base"}
        assert {f"{name}.{ending}" for name in expected} <= names


def test_runs_carry_manifest_settings_and_a_loadable_model(finished: Workspace) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    run = finished.folder / "results/test/runs/kpo-clipped-s0"
    for name in ("manifest.json", "config.yaml", "metrics.jsonl", "timings.jsonl"):
        assert (run / name).stat().st_size > 0
    assert not (run / "unfinished").exists()
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
    assert plan == {"train": 1, "ask": 1, "sample": 1, "grade": 1, "tables": 1, "table1": 1}


def test_an_added_method_runs_alone(finished: Workspace) -> None:
    methods = TEST_CONFIG["methods"]
    assert isinstance(methods, dict)
    added = {**methods, "gspo": {"label": "GSPO", "objective": "gspo"}}
    try:
        finished.write({**TEST_CONFIG, "methods": added})
        plan = finished.planned("results/table1.csv")
    finally:
        finished.write(TEST_CONFIG)
    assert plan == {"train": 1, "ask": 1, "sample": 1, "grade": 1, "tables": 1, "table1": 1}


def test_another_experiment_touches_nothing_of_this_one(finished: Workspace) -> None:
    try:
        finished.write({**TEST_CONFIG, "experiment": "other"})
        plan = finished.planned("results/table1.csv")
    finally:
        finished.write(TEST_CONFIG)
    assert plan["base"] == 1
    assert finished.planned("results/table1.csv") == {}


def test_the_same_config_gives_the_same_bytes(finished: Workspace, tmp_path: Path) -> None:
    again = Workspace(tmp_path)  # whose jobs are forks: other processes, the same bytes
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


@pytest.mark.parametrize("entrance", ["Snakefile", "workflow/Snakefile"])
def test_a_folder_that_has_only_problems_and_settings_will_do(
    entrance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs too find the suite's modules, beside a package that has taken one of their names."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    workspace = Workspace(tmp_path)
    for name in ("evals", "baselines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('of another')\n")
    made = workspace.arguments("results/test/problems/train.jsonl", entrance=entrance)
    call = [sys.executable, "-m", "snakemake", *made]
    run = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "results/test/problems/train.jsonl").stat().st_size > 0


def test_lint_is_clean() -> None:
    command = [sys.executable, "-m", "snakemake", "--lint"]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
