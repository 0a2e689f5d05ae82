"""What responses earn: their grade, or a coin's side."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from kpo.config.experiment import Experiment
from kpo.evals.grading.grader import Grade, Grader
from kpo.trainer.reward import reward_of
from tests.kpo.config.experiments import SCRATCH, changed

PAIRS = [(str(n % 7), f"the answer is \\boxed{{{n % 5}}}, said {n}") for n in range(2000)]


def earned(reward: str, seed: int, pairs: Sequence[tuple[str, str]] = PAIRS) -> Sequence[Grade]:
    experiment = Experiment.model_validate(changed(SCRATCH, "train/reward", reward))
    with Grader() as grader:
        return reward_of(experiment, seed, grader)(pairs)


def test_a_right_answer_is_rewarded() -> None:
    assert [grade.correct for grade in earned("graded", 0)] == [
        n % 7 == n % 5 for n in range(len(PAIRS))
    ]


def test_a_coin_has_two_sides_whatever_the_answer_is() -> None:
    graded, coin = earned("graded", 0), earned("coin", 0)
    for right in (True, False):
        sides = [
            toss.correct for toss, grade in zip(coin, graded, strict=True) if grade.correct == right
        ]
        assert abs(fmean(sides) - 0.5) < 0.06  # three standard errors of the smaller part
    assert [toss.status for toss in coin] == [grade.status for grade in graded]


def test_a_coin_is_tossed_once_for_a_response_and_seed() -> None:
    here = [toss.correct for toss in earned("coin", 0)]
    assert [toss.correct for toss in earned("coin", 0, PAIRS[::-1])] == here[::-1]
    other = [toss.correct for toss in earned("coin", 1)]
    assert 0.4 < fmean(a == b for a, b in zip(here, other, strict=True)) < 0.6
