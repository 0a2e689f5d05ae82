"""The grader: order, statuses, what needs no worker, what is asked once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kpo.evals.grading import grader as grading
from kpo.evals.grading.equivalence import judge
from kpo.evals.grading.grader import Grade, Grader, grade
from kpo.evals.grading.pool import Reply, Request, WorkerPool
from tests.evals.grading.asked import NUMBERS, boxed


def test_grades_come_in_order_with_their_status(grader: Grader) -> None:
    pairs = [
        ("5", boxed("5")),
        (r"\frac{1}{2}", boxed("0.5")),
        ("5", "five"),
        (r"\dfrac{9}{7}", boxed(r"\frac{18}{14}")),
        (r"2\sqrt{13}", boxed("2")),
        ("5", boxed("9^{9^{9^{9}}}")),
        (r"2\sqrt{13}", boxed(r"\sqrt{52}")),
        ("5", boxed("")),
        ("5", boxed("6")),
        ("5", boxed("7" * 2000)),
        ("x=5", boxed("5")),
        ("5", boxed("x=5") + boxed("x=6")),
        ("5", boxed("{" * 20 + "5" + "}" * 20)),
    ]
    assert grader.grade(pairs) == [
        Grade(True, "ok", "5"),
        Grade(True, "ok", "0.5"),
        Grade(False, "no_answer", None),
        Grade(True, "ok", r"\frac{18}{14}"),
        Grade(False, "ok", "2"),
        Grade(False, "timeout", "9^{9^{9^{9}}}"),
        Grade(True, "ok", r"\sqrt{52}"),
        Grade(False, "no_answer", ""),
        Grade(False, "ok", "6"),
        Grade(False, "error", "7" * grading.MAX_ANSWER_CHARS),
        Grade(True, "ok", "5"),
        Grade(False, "ok", "x=6"),
        Grade(False, "error", "{" * 20 + "5" + "}" * 20),
    ]


def test_the_gold_is_asked_not_the_answer(grader: Grader) -> None:
    """verify is asymmetric: an answer may leave a solution's name out, not put one in for it."""
    asked = [("x=5", boxed("5")), ("1<x<2", boxed("(1,2)")), ("y=2x+1", boxed("y=2x+2"))]
    assert [g.correct for g in grader.grade(asked)] == [True, True, False]


def test_nothing_to_grade(no_process: None) -> None:
    assert grade([], workers=2, timeout_s=1) == []


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (("5", None), "pair 1: the response is NoneType"),
        (("5", b"5"), "pair 1: the response is bytes"),
        ((5, boxed("5")), "pair 1: the gold is int"),
    ],
)
def test_what_is_not_text_is_refused_before_work(
    pair: Any, complaint: str, no_process: None
) -> None:
    with pytest.raises(TypeError, match=complaint):
        grade([("1/3", boxed("1/2")), pair], workers=1, timeout_s=1)


def test_whole_numbers_need_no_worker(no_process: None) -> None:
    rng = random.Random(0)
    numbers = [(rng.randint(-99, 99), rng.randint(-99, 99)) for _ in range(500)]
    with Grader() as free:
        grades = free.grade([(str(a), boxed(str(b))) for a, b in numbers])
        assert free.grade([("5", "no box")]) == [Grade(False, "no_answer", None)]
    assert [g.correct for g in grades] == [a == b for a, b in numbers]
    assert {g.status for g in grades} == {"ok"}


@pytest.mark.parametrize("gold", NUMBERS)
def test_the_path_without_workers_agrees_with_math_verify(gold: str) -> None:
    for answer in NUMBERS:
        known = grading._without_worker(gold, answer)
        if isinstance(known, Grade):
            assert known == Grade(judge(gold, answer), "ok", answer)


def test_a_comparison_is_made_once(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    run = WorkerPool.run

    def recording(self: WorkerPool, requests: Any, *rest: Any) -> list[Reply]:
        asked.extend(requests)
        return run(self, requests, *rest)

    monkeypatch.setattr(WorkerPool, "run", recording)
    pairs = [("x+1", boxed(a)) for a in ("1+x", "x+2", "1+x", " 1+x ", "x+2")] * 30
    done: list[int] = []
    grades = grader.grade(pairs, on_done=done.append)
    assert [g.correct for g in grades] == [True, False, True, True, False] * 30
    assert sorted(asked) == [Request("x+1", "1+x"), Request("x+1", "x+2")]
    assert sum(done) == len(pairs)
