"""What a response earns in training: whether it is right, or, as a control, a coin's side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kpo.common.seeding import derive_seed
from kpo.config.experiment import Experiment
from kpo.evals.grading.grader import Grade, Grader
from kpo.tasks.task import grades
from kpo.trainer.batch import Reward


def reward_of(experiment: Experiment, seed: int, grader: Grader) -> Reward:
    """The reward that `train.reward` names.

    A coin is 0 or 1 by the training seed, the gold and the response, so that a run that goes on
    from a checkpoint, or on more ranks, tosses the same; the status stays the grade's.
    """

    def graded(pairs: Sequence[tuple[str, str]]) -> Sequence[Grade]:
        return grades(experiment.task, pairs, grader)

    def coin(pairs: Sequence[tuple[str, str]]) -> Sequence[Grade]:
        return [
            replace(grade, correct=bool(derive_seed("coin", seed, *pair) % 2))
            for pair, grade in zip(pairs, graded(pairs), strict=True)
        ]

    return {"graded": graded, "coin": coin}[experiment.train.reward]
