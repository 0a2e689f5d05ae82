"""Where a pipeline stands, from a log as Snakemake writes it and the logs of its jobs."""

import os
import time
from pathlib import Path

import pytest

from kpo.planning.pipeline import (
    Bar,
    Job,
    bar_of,
    job_left,
    means,
    read_log,
    stored_means,
    time_left,
)

HEAD = """SNAKEMAKE
=========
  Config file(s): [PosixPath('/x/workflow/config/tiny.yaml')]
Provided cores: 2
Job stats:
job       count
------  -------
base          1
train         3
sample        4
total         8

Select jobs to execute...
"""


def at(second: int) -> str:
    return f"[Fri Nov 27 17:38:{second:02} 2026]\n"


def started(job: int, rule: str, name: str, second: int, local: str = "local") -> str:
    return (
        at(second) + f"{local}rule {rule}:\n"
        "    input: results/tiny/base\n"
        f"    output: results/tiny/runs/{name}/model\n"
        f"    log: results/tiny/logs/{rule}/{name}.log\n"
        f"    jobid: {job}\n"
        f"    reason: Missing output files: results/tiny/runs/{name}/model\n"
        f"    wildcards: method={name}, seed=0\n"
        "    resources: tmpdir=/tmp, gpu=0\n"
    )


def finished(job: int, rule: str, second: int) -> str:
    return at(second) + f"Finished jobid: {job} (Rule: {rule})\n1 of 8 steps (12%) done\n"


def failed(job: int, rule: str, second: int) -> str:
    return (
        at(second)
        + f"Error in rule {rule}:\n    message: None\n    jobid: {job}\n    shell:\n        exec\n"
    )


def test_jobs_wait_run_fail_and_are_done() -> None:
    log = HEAD + started(1, "train", "a", 0) + started(2, "train", "b", 1, local="")
    log += finished(1, "train", 20) + started(3, "sample", "a", 20) + failed(2, "train", 30)
    found = read_log(log)
    assert found.planned == {"base": 1, "train": 3, "sample": 4}
    assert (found.done, found.cores, found.at_once, found.ended) == (1, 2, 2, False)
    assert found.seconds == {"train": [20.0]}
    assert [job.name for job in found.failed] == ["train b"]
    assert [job.name for job in found.running.values()] == ["sample a"]
    assert found.running["3"].log == Path("results/tiny/logs/sample/a.log")
    assert found.waiting == {"base": 1, "train": 1, "sample": 3}
    assert found.experiment == "tiny"
    assert read_log(log + "Complete log(s): x\n").ended


def test_a_job_that_is_tried_again_runs_and_has_not_failed() -> None:
    log = HEAD + started(2, "train", "b", 0) + failed(2, "train", 5) + started(2, "train", "b", 6)
    found = read_log(log)
    assert not found.failed
    assert list(found.running) == ["2"]
    assert found.waiting["train"] == 2


def test_a_block_that_is_being_written_is_no_job_yet() -> None:
    whole = HEAD + started(1, "train", "a", 0)
    assert not read_log(whole[: whole.index("    jobid")]).running


@pytest.mark.parametrize(
    ("text", "bar"),
    [
        (
            "train:  45%|##4   | 9/20 [00:10<01:12,  1.10s/step, reward=0.45]\r",
            Bar(9, 20, 72.0, "reward=0.45"),
        ),
        ("train:   0%|      | 0/20 [00:00<?, ?step/s]\r", Bar(0, 20, None)),
        ("SFT:  50%|#  | 450/900 [1:00:10<1:00:05, 12.2step/s]\r", Bar(450, 900, 3605.0)),
        ("Loading weights: 100%|###| 35/35 [00:00<00:00, 15729.20it/s]\n", None),
        ("error: no such file\n", None),
    ],
)
def test_a_job_is_as_far_as_its_bar_says(tmp_path: Path, text: str, bar: Bar | None) -> None:
    log = tmp_path / "a.log"
    log.write_text("train:   5%|   | 1/20 [00:10<09:12, 1.10s/step]\r" * bool(bar) + text)
    assert bar_of(Job("train", time.time() - 60, "1", log)) == bar


def test_the_bar_of_an_earlier_attempt_is_not_shown(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("train:  45%|##4   | 9/20 [00:10<01:12,  1.10s/step]\r")
    os.utime(log, (1000, 1000))
    assert bar_of(Job("train", 2000.0, "1", log)) is None
    assert bar_of(Job("train", 2000.0, "1", tmp_path / "none.log")) is None


def test_times_are_of_this_call_else_of_the_experiment_else_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "seconds.csv"
    rows = [f"{name},{job},90.0,1,x" for name in ("tiny", "clip") for job in ("base", "grade")]
    file.write_text("\n".join(["experiment,job,seconds,jobs,machine", *rows, "tiny,train,9,1,x"]))
    timings = tmp_path / "tiny/timings"
    timings.mkdir(parents=True)
    (timings / "base.tsv").write_text("s\th:m:s\n70.0\t0:01:10\n")
    found = read_log(HEAD + started(1, "train", "a", 0) + finished(1, "train", 20))
    assert means(found, stored_means("tiny", file, tmp_path)) == {
        "base": 70.0,
        "grade": 90.0,
        "train": 20.0,
    }


def test_the_time_left_is_that_of_waiting_and_running_jobs_side_by_side() -> None:
    log = HEAD.replace("base          1\n", "") + started(1, "train", "a", 0)
    log += started(2, "train", "b", 0) + finished(1, "train", 20) + started(3, "train", "c", 20)
    found = read_log(log)
    known = {"train": 20.0, "sample": 10.0}
    now = found.running["3"].started
    lefts = {key: job_left(job, None, known, now) for key, job in found.running.items()}
    assert lefts == {"2": 0.0, "3": 20.0}
    assert time_left(found, known, lefts) == ((4 * 10.0 + 20.0) / 2, [])
    assert time_left(found, {"train": 20.0}, lefts) == (20.0, ["sample"])
    assert time_left(found, known, {"2": None, "3": 6.0}) == ((4 * 10.0 + 6.0) / 2, ["train"])
    assert job_left(found.running["2"], Bar(1, 3, 7.0), known, 0.0) == 7.0
    assert job_left(found.running["2"], None, {}, 0.0) is None


def test_a_job_that_nothing_runs_beside_counts_in_full() -> None:
    found = read_log(HEAD + started(1, "base", "base", 0))
    known = {"base": 60.0, "train": 20.0, "sample": 10.0}
    assert time_left(found, known, {"1": 50.0}) == (50.0 + (3 * 20.0 + 4 * 10.0) / 2, [])
