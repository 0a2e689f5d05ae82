"""Killable workers: what one of them loses costs no other answer."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from kpo.evals.grading import pool as pool_module
from kpo.evals.grading import worker as grade_worker
from kpo.evals.grading.grader import Grade, Grader, grade
from kpo.evals.grading.pool import Reply, Request, WorkerPool
from tests.bench.bench_grade import BOMBS, GOLDS, make_items
from tests.evals.grading.asked import LINE, SLOW, boxed
from tests.patience import FAR_S


@pytest.mark.parametrize("limits", [{"workers": 0}, {"timeout_s": 0}, {"memory_mb": -1}])
def test_limits_must_be_positive(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Grader(**limits)


@pytest.mark.slow
def test_a_timeout_costs_only_its_own_answer() -> None:
    pairs = [("1/2", boxed("0.5")), (LINE, boxed(SLOW)), ("x", boxed("y")), ("y=x", boxed(SLOW))]
    pairs += [("x+y", boxed("y+x"))]
    grades = grade(pairs, workers=1, timeout_s=5.0)
    assert [(g.correct, g.status) for g in grades] == [
        (True, "ok"),
        (False, "timeout"),
        (False, "ok"),
        (False, "timeout"),
        (True, "ok"),
    ]


@pytest.mark.slow
def test_a_worker_that_dies_costs_only_its_own_answer() -> None:
    with contextlib.closing(WorkerPool(workers=1, timeout_s=30, memory_mb=2048)) as pool:
        assert pool.run([Request("x", "x")]) == [Reply("ok", True)]
        (worker,) = pool._alive
        threading.Timer(0.5, os.killpg, (worker.process.pid, signal.SIGKILL)).start()
        replies = pool.run([Request(LINE, SLOW), Request("x", "x"), Request("x", "y")])
        assert [reply.status for reply in replies] == ["error", "ok", "ok"]
        assert "died" in replies[0].reason
        os.killpg(pool._alive[0].process.pid, signal.SIGKILL)
        pool._alive[0].process.wait()
        assert pool.run([Request("x", "x")]) == [Reply("ok", True)]


@pytest.mark.slow
def test_memory_is_limited() -> None:
    """The worker that came near its limit is replaced: its later answers would be errors too."""
    requests = [Request(LINE, "y=(x+w+z)^{30}"), Request("x+1", "1+x"), Request("x+1", "x+2")]
    with contextlib.closing(WorkerPool(workers=1, timeout_s=20, memory_mb=90)) as pool:
        replies = pool.run(requests)
        limits = Path(f"/proc/{pool._alive[0].process.pid}/limits")
        if limits.exists():
            found = re.search(r"Max address space +(\d+)", limits.read_text())
            assert found is not None and int(found[1]) == 90 * 2**20
    # math-verify may try on after a failed allocation, and then time ends it.
    assert replies[0] in (Reply("error", reason="memory"), Reply("timeout", reason="over 20 s"))
    assert replies[1:] == [Reply("ok", True), Reply("ok", False)]


def test_a_failed_allocation_is_an_error_and_retires_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(gold: str, answer: str) -> bool:
        raise MemoryError

    monkeypatch.setattr("kpo.evals.grading.equivalence.judge", exhausted)
    reply = grade_worker.reply_to({"gold": "1", "answer": "2", "rule": "by_kind"}, 10**6)
    assert reply == {"reply": {"status": "error", "reason": "memory"}, "retire": True}


def test_workers_that_cannot_start_are_an_error_with_a_reason() -> None:
    pool = WorkerPool(workers=2, timeout_s=5, memory_mb=40)
    with pytest.raises(RuntimeError, match=r"do not start.*40 MiB"):
        pool.run([Request("x", "y")])
    assert pool._alive == []


@pytest.mark.slow
def test_failed_starts_count_only_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = iter([40, 40, 2048] * 2)  # MiB; in 40 none starts, and the third such would be one

    class Worker(pool_module._Worker):
        def __init__(self, timeout_s: float, memory_mb: int) -> None:
            del memory_mb
            super().__init__(timeout_s, next(starts))

    monkeypatch.setattr(pool_module, "_Worker", Worker)
    with contextlib.closing(WorkerPool(workers=1, timeout_s=30, memory_mb=2048)) as pool:
        for _ in range(2):
            assert pool.run([Request("x", "x")]) == [Reply("ok", True)]
            pool.close()
    assert next(starts, None) is None


def test_an_interrupted_call_leaves_no_worker_in_the_middle_of_something(grader: Grader) -> None:
    class InterruptError(BaseException):
        pass

    def interrupt(done: int) -> None:
        raise InterruptError

    with pytest.raises(InterruptError):
        grader.grade([("x", boxed(f"x+{n}")) for n in range(20)], on_done=interrupt)
    assert grader._pool._alive == []
    assert grader.grade([("x+1", boxed("1+x"))]) == [Grade(True, "ok", "1+x")]


@pytest.mark.slow
def test_bombs_neither_lose_nor_shift_a_grade(replies: list[Reply]) -> None:
    items = make_items(GOLDS, count=300, bomb_share=0.1, seed=3)
    assert sum(item.bomb for item in items) == 30
    grades = grade([(i.gold, i.response) for i in items], workers=2, timeout_s=FAR_S)
    assert not any(reply.reason.startswith("over") for reply in replies)  # no deadline was met
    for item, result in zip(items, grades, strict=True):
        assert result.correct == item.right, (item.gold, result)
        assert item.bomb or result.status == "ok"


@pytest.mark.parametrize("bomb", BOMBS, ids=[repr(b[:24]) for b in BOMBS])
def test_each_bomb_is_wrong_before_its_deadline(
    bomb: str, grader: Grader, replies: list[Reply]
) -> None:
    tame = (r"\sqrt{8}", boxed(r"2\sqrt{2}"))
    before, result, after = grader.grade([tame, ("5", bomb), tame])
    assert not result.correct
    assert before == after == Grade(True, "ok", r"2\sqrt{2}")
    assert not any(reply.reason.startswith("over") for reply in replies)


def test_what_stands_beside_a_bomb_in_a_response_does_not_matter(grader: Grader) -> None:
    noises = ["\x00" * 99, "\ud800", "\U0001f600", "{" * 3000, "}" * 3000, r"\frac" * 9999]
    pairs = [("5", noise + boxed("5.0") + noise) for noise in noises]
    assert grader.grade(pairs) == [Grade(True, "ok", "5.0")] * len(noises)


def test_workers_start_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert grade([("x+1", boxed("1+x"))], workers=1, timeout_s=FAR_S)[0].correct
