"""What the workflow would run, and with what: the printed plans of three experiments.

Every setting that a rule passes on differs here from its default and from what other rules get.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.workspace import REPO, TEST_CONFIG, Workspace

pytestmark = pytest.mark.slow

Job = tuple[str, str]
"""A rule, and the run that it is for (`base`, `kpo-s0`), or nothing."""
CONFIG = {"config": "test.yaml"}
ROOT = "results/test"
KPO = {"kpo": {"label": "KPO", "objective": "kpo", "q": 1e-6}}
TRAIN: dict[str, Any] = {**TEST_CONFIG["train"], "max_prompt_tokens": 200, "threads": 3}
EVALUATE: dict[str, Any] = {**TEST_CONFIG["evaluate"], "threads": 5}
ON_GPUS = {
    **TEST_CONFIG,
    "prompt": "official",
    "train": {**TRAIN, "gpus": 2},
    "evaluate": {**EVALUATE, "engine": "vllm", "gpus": 1},
    "grading": {"rule": "math_verify", "timeout_s": 1.5, "memory_mb": 777},
    "methods": KPO,
}
ON_CPUS = {**TEST_CONFIG, "train": {**TRAIN, "ranks": 2}, "evaluate": EVALUATE, "methods": KPO}
FROM_ELSEWHERE = {
    "extends": str(REPO / "workflow/config/paper-official.yaml"),
    "experiment": "test",
    "seeds": [0],
    "train": {"gpus": 1, "threads": 3},
    "evaluate": {"gpus": 2, "threads": 5},
    "methods": KPO,
}


@dataclass(frozen=True)
class Planned:
    """A job as Snakemake prints it."""

    threads: int
    gpus: int
    command: str

    def options(self, module: str) -> dict[str, str]:
        """The options of a command that begins with `module`, without what goes to its log."""
        before, *options = re.split(" 2?> ", self.command)[0].split(" --")
        assert before == module
        return {name: value.strip() for name, _, value in (o.partition(" ") for o in options)}


Plans = dict[Job, Planned]


def plan(folder: Path, config: object) -> Plans:
    """The jobs of an experiment from nothing to its table, on a machine with room for each."""
    room = ["--cores", "64", "--resources", "gpu=8"]
    run = Workspace(folder, config).snakemake("results/table1.csv", "--dry-run", "-p", *room)
    assert run.returncode == 0, run.stdout
    jobs = {}
    for block in re.split(r"^(?=(?:local)?rule \w+:$)", run.stdout, flags=re.MULTILINE)[1:]:
        rule = re.match(r"(?:local)?rule (\w+)", block)
        run_of = re.search(r"^    wildcards: (?:run=(\S+)|method=(\S+), seed=(\S+))", block, re.M)
        named = [part for part in (run_of.groups() if run_of else ()) if part]
        threads = re.search(r"^    threads: (\d+)", block, re.M)
        gpus = re.search(r"gpu=(\d+)", block)
        command = re.search(r"^Shell command: (.*)", block, re.M)
        assert rule
        assert command
        jobs[rule[1], "-s".join(named)] = Planned(
            int(threads[1]) if threads else 1, int(gpus[1]) if gpus else 0, command[1]
        )
    return jobs


@pytest.fixture(scope="module")
def on_gpus(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    """Problems of the task; training on two GPUs, evaluation by vLLM on one."""
    return plan(tmp_path_factory.mktemp("gpus"), ON_GPUS)


@pytest.fixture(scope="module")
def on_cpus(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    """Problems of the task; training by two ranks, evaluation by transformers."""
    return plan(tmp_path_factory.mktemp("cpus"), ON_CPUS)


@pytest.fixture(scope="module")
def from_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    """Problems and a base from the hub; training on one GPU, evaluation on two."""
    return plan(tmp_path_factory.mktemp("elsewhere"), FROM_ELSEWHERE)


def test_grading_is_told_limits_where_answers_are_and_who_decides(
    on_gpus: Plans, on_cpus: Plans, from_elsewhere: Plans
) -> None:
    for run in ("base", "kpo-s0"):
        root = f"{ROOT}/evals/{run}"
        files = {"samples": f"{root}/samples.jsonl", "out": f"{root}/grades.jsonl", "workers": "1"}
        given = {"timeout-s": "1.5", "memory-mb": "777"}
        official = {"answers": "boxed-or-hashes", "rule": "math_verify"}
        default = {"timeout-s": "5.0", "memory-mb": "2048", "rule": "by_kind"}
        for jobs, rest in (
            (on_gpus, {**given, **official}),
            (on_cpus, {**default, "answers": "boxed"}),
            (from_elsewhere, {**default, "answers": "boxed-or-hashes"}),
        ):
            grade = jobs["grade", run]
            assert grade.options("python -m kpo.evals.grade") == {**files, **rest}
            assert (grade.threads, grade.gpus) == (1, 0)


def test_training_has_the_threads_and_gpus_of_all_its_processes(
    on_gpus: Plans, on_cpus: Plans, from_elsewhere: Plans
) -> None:
    made = {**CONFIG, "method": "kpo", "seed": "0", "base": f"{ROOT}/base"}
    made["out"] = f"{ROOT}/runs/kpo-s0"
    for jobs, started, problems, room in (
        (on_gpus, "python -m kpo.devices 2 python -m kpo.launch 2", "problems", (6, 2)),
        (on_cpus, "python -m kpo.launch 2", "problems", (6, 0)),
        (from_elsewhere, "python -m kpo.devices 1 python", "data", (3, 1)),
    ):
        train = jobs["train", "kpo-s0"]
        options = train.options(f"exec {started} -m kpo.train")
        assert options == {**made, "problems": f"{ROOT}/{problems}"}
        assert (train.threads, train.gpus) == room


def test_sampling_has_the_evaluation_s_threads_and_gpus_and_a_queue_without_an_engine(
    on_gpus: Plans, on_cpus: Plans, from_elsewhere: Plans
) -> None:
    task = {"problems": f"{ROOT}/problems"}
    queue = {"queue": f"{ROOT}/evals"}
    checked = {"checked": f"{ROOT}/benchmarks.json"}
    models = {"base": f"{ROOT}/base", "kpo-s0": f"{ROOT}/runs/kpo-s0/model"}
    for run, model in models.items():
        made = {**CONFIG, "run": run, "model": model, "out": f"{ROOT}/evals/{run}/samples.jsonl"}
        for jobs, lease, rest, gpus in (
            (on_gpus, "python -m kpo.devices 1 ", task, 1),
            (on_cpus, "", {**task, **queue}, 0),
            (from_elsewhere, "python -m kpo.devices 2 ", checked, 2),
        ):
            sample = jobs["sample", run]
            assert sample.options(f"{lease}python -m kpo.evals.sample") == {**made, **rest}
            assert (sample.threads, sample.gpus) == (5, gpus)
            assert (("ask", run) in jobs) == ("queue" in rest)


def test_a_base_takes_one_process_of_training(
    on_gpus: Plans, on_cpus: Plans, from_elsewhere: Plans
) -> None:
    for jobs, lease, gpus in (
        (on_gpus, "python -m kpo.devices 1 ", 1),
        (on_cpus, "", 0),
        (from_elsewhere, "python -m kpo.devices 1 ", 1),
    ):
        base = jobs["base", ""]
        options = base.options(f"{lease}python -m kpo.base")
        assert options == {**CONFIG, "out": f"{ROOT}/base"}
        assert (base.threads, base.gpus) == (3, gpus)


def test_problems_are_made_or_cleaned_and_checked(on_cpus: Plans, from_elsewhere: Plans) -> None:
    made = {**CONFIG, "out": f"{ROOT}/problems"}
    train, tests = (on_cpus[rule, ""] for rule in ("problems", "test_problems"))
    generate = "python -m kpo.tasks.generate"
    assert train.options(generate) == {**made, "sets": "train"}
    assert tests.options(generate) == {**made, "sets": "easy medium hard"}
    assert not {("data", ""), ("benchmarks", "")} & set(on_cpus)
    assert not {("problems", ""), ("test_problems", "")} & set(from_elsewhere)
    data, benchmarks = (from_elsewhere[rule, ""] for rule in ("data", "benchmarks"))
    cleaned = {**CONFIG, "workers": "2", "out": f"{ROOT}/data"}
    assert data.options("python -m kpo.tasks.training_set") == cleaned
    assert data.threads == 2
    checked = {**CONFIG, "model": f"{ROOT}/base", "out": f"{ROOT}/benchmarks.json"}
    assert benchmarks.options("python -m kpo.evals.benchmarks") == checked


def test_tables_are_made_of_the_experiment(on_cpus: Plans) -> None:
    made = {**CONFIG, "results": "results", "out-dir": ROOT}
    assert on_cpus["tables", ""].options("python -m kpo.evals.tables") == made


def test_nothing_else_is_planned(on_gpus: Plans, on_cpus: Plans, from_elsewhere: Plans) -> None:
    both = {(rule, run) for rule in ("sample", "grade") for run in ("base", "kpo-s0")}
    rest = {("base", ""), ("train", "kpo-s0"), ("tables", ""), ("table1", "")} | both
    task = rest | {("problems", ""), ("test_problems", "")}
    assert set(on_gpus) == task
    assert set(on_cpus) == task | {("ask", "base"), ("ask", "kpo-s0")}
    assert set(from_elsewhere) == rest | {("data", ""), ("benchmarks", "")}
