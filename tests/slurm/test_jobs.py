"""The pipeline as jobs of a real Slurm: to its table, on GPUs and nodes, and preempted."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.patience import until
from tests.slurm.cluster import Cluster, call
from tests.workspace import REPO, TEST_CONFIG, Workspace

pytestmark = pytest.mark.slow
METHOD = "kpo-clipped"
RUN = f"results/test/runs/{METHOD}-s0"


def config(**train: Any) -> dict[str, Any]:
    """One run, with other settings of training."""
    methods = {METHOD: TEST_CONFIG["methods"][METHOD]}
    return {**TEST_CONFIG, "methods": methods, "train": {**TEST_CONFIG["train"], **train}}


def arguments(*args: str) -> list[str]:
    """Of a call of snakemake that submits; this Slurm keeps no accounts."""
    profile = ["--workflow-profile", str(REPO / "workflow/profiles/slurm")]
    asking = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
    return ["--cores", "64", *profile, *asking, "--latency-wait", "5", *args]


class Submitted:
    """A workspace whose jobs are Slurm's."""

    def __init__(self, slurm: Cluster, workspace: Workspace) -> None:
        self.slurm, self.workspace, self.folder = slurm, workspace, workspace.folder

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake to its end."""
        return self.workspace.snakemake(*arguments(*args))

    def errors(self) -> list[str]:
        """Of a run on two GPUs, which are none: a line of each rank that came to say it."""
        log = (self.folder / f"results/test/logs/train/{METHOD}-s0.log").read_text()
        lines = log.splitlines()
        return [line for line in lines if line.startswith("error: train.gpus is 2, but")]

    def last(self, rule: str) -> dict[str, str]:
        """What Slurm recorded of the last job of a rule."""
        return self.slurm.rule(f"rule_{rule}")[-1]


@pytest.fixture(scope="module")
def submitted(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Submitted:
    """From nothing to the table: base and problems are then there."""
    workspace = Workspace(tmp_path_factory.mktemp("pipeline"), config())
    found = Submitted(slurm, workspace)
    done = found.run("results/table1.csv", "--set-resources", "grade:runtime=99")
    assert done.returncode == 0, done.stdout[-5000:]
    return found


def test_the_pipeline_goes_through_slurm_to_its_table(submitted: Submitted) -> None:
    table = (submitted.folder / "results/table1.csv").read_text().splitlines()
    assert len(table) == 1 + 2  # a row each of the base and of the run
    assert METHOD in table[2]
    limits = {
        **{"problems": "01:00:00", "test_problems": "01:00:00", "base": "02:00:00"},
        **{"train": "2-00:00:00", "sample": "12:00:00", "tables": "01:00:00"},
        "grade": "01:39:00",  # the command line's
    }
    for rule, limit in limits.items():
        job = submitted.last(rule)
        assert (job["JobState"], job["TimeLimit"]) == ("COMPLETED", limit), rule
        assert len(submitted.slurm.tasks(job)) == 1, rule


def test_a_run_of_two_gpus_is_one_task_that_has_both(submitted: Submitted) -> None:
    """Up to the GPUs, which are none."""
    submitted.workspace.write(config(gpus=2))
    done = submitted.run(f"{RUN}/manifest.json", "--retries", "0")
    assert done.returncode != 0
    (job,) = submitted.slurm.rule("rule_train")[-1:]
    (task,) = submitted.slurm.tasks(job)
    assert task.gpus == "0,1"
    assert "python -m kpo.launch 2 -m kpo.train" in done.stdout
    assert 1 <= len(submitted.errors()) <= 2  # of its ranks: one's end is soon the other's


def test_gpus_of_two_nodes_are_those_of_a_task_on_each(submitted: Submitted) -> None:
    submitted.workspace.write(config(gpus=2, nodes=2))
    assert submitted.run(f"{RUN}/manifest.json", "--retries", "0").returncode != 0
    tasks = submitted.slurm.tasks(submitted.last("train"))
    assert [(task.node, task.gpus) for task in tasks] == [("n1", "0,1"), ("n2", "0,1")]
    assert submitted.errors()  # here too


def test_a_run_on_two_nodes_is_one_job_with_a_task_on_each(submitted: Submitted) -> None:
    before = len(submitted.slurm.rule("rule_train"))
    submitted.workspace.write(config(nodes=2))
    done = submitted.run(f"{RUN}/manifest.json")
    assert done.returncode == 0, done.stdout[-5000:]
    (job,) = submitted.slurm.rule("rule_train")[before:]
    assert (job["JobState"], job["NumNodes"]) == ("COMPLETED", "2")
    tasks = submitted.slurm.tasks(job)
    assert [(task.step, task.node) for task in tasks] == [("0", "n1"), ("0", "n2")]
    assert json.loads((submitted.folder / RUN / "manifest.json").read_text())["processes"] == 2


def test_a_preempted_job_resumes_from_its_checkpoint(submitted: Submitted) -> None:
    """Slurm takes its machine for a job of a partition that goes first, and starts it again."""
    before = len(submitted.slurm.rule("rule_train"))
    submitted.workspace.write(config(steps=150, checkpoint_every=1000))
    first = ["--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true"]
    metrics = submitted.folder / RUN / "unfinished/metrics.jsonl"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(submitted.run, f"{RUN}/manifest.json")
        begun = lambda: metrics.is_file() and metrics.read_text().count("\n") >= 2  # noqa: E731
        until(begun, lambda: not running.done())
        call("sbatch", *first)
        done = running.result()
    assert done.returncode == 0, done.stdout[-5000:]
    (job,) = submitted.slurm.rule("rule_train")[before:]
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    rows = (submitted.folder / RUN / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(150))
    log = (submitted.folder / f"results/test/logs/train/{METHOD}-s0.log").read_text()
    bar = re.search(r"train: +\d+%.*? (\d+)/150 ", log)
    assert bar
    assert int(bar[1]) >= 2  # not from nothing
