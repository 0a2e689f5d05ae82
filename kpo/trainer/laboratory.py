"""Trainings of which no run folder is written, one after the other, from the same base policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from evals.grading.grader import Grader
from kpo.common.cli import UserError
from kpo.config.experiment import Experiment
from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import needs_sharding
from kpo.model.policy import Policy
from kpo.rollout.engine import RolloutEngine
from kpo.tasks.task import grades
from kpo.trainer.batch import Prompt
from kpo.trainer.log import RunLog
from kpo.trainer.loop import Trainer
from kpo.trainer.prompts import load_prompts
from kpo.trainer.run import grader_of, load, prepare, start
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.training_set import TrainingSet, training_set

Kind = TypeVar("Kind", bound=Trainer)


def weights_of(policy: Policy) -> list[Tensor]:
    """A copy of all weights."""
    return [weight.detach().clone() for weight in policy.model.parameters()]


@torch.no_grad()
def put(policy: Policy, weights: Sequence[Tensor]) -> None:
    """Give a policy the weights of such a copy."""
    for own, weight in zip(policy.model.parameters(), weights, strict=True):
        own.copy_(weight)


def check_alone(experiment: Experiment, method: str, what: str) -> None:
    """Raise UserError where a method's training is not that of one process in float32.

    what: what is looked at, for the message.
    """
    train = experiment.train_of(method)
    if needs_sharding(train.world, train.scoring):
        raise UserError(
            f"train asks for {train.world} processes that compute in {train.scoring}, but {what}"
            " by one process in float32: lower train.gpus or train.ranks to 1, and set"
            " train.scoring_dtype to float32"
        )


@dataclass(frozen=True)
class Laboratory:
    """What trainings of one method's settings share.

    Attributes:
        failures: a folder beside which a failed update is saved; nothing else is written.
        initial: the base policy's weights.
    """

    experiment: Experiment
    method: str
    policy: Policy
    engine: RolloutEngine
    prompts: list[Prompt]
    trained_on: TrainingSet
    grader: Grader
    ranks: Ranks
    failures: Path
    initial: list[Tensor]

    def trainer(self, kind: type[Kind], seed: int, objective: Any = None, **own: Any) -> Kind:
        """A trainer, from the base policy, with an objective in place of the method's if given."""
        put(self.policy, self.initial)
        experiment = self.experiment
        settings = experiment.section("train", self.method)
        return kind(
            policy=self.policy,
            objective=objective or experiment.methods[self.method].build(),
            engine=self.engine,
            reward=lambda pairs: grades(experiment.task, pairs, self.grader),
            prompts=self.prompts,
            config=experiment.train_of(self.method),
            seed=seed,
            log=RunLog(None),
            checkpoints=Checkpoints(self.failures, settings),
            ranks=self.ranks,
            **own,
        )


@contextmanager
def laboratory(
    experiment: Experiment, method: str, base: Path, problems: Path | None, out: Path
) -> Iterator[Laboratory]:
    """Load all that trainings of a method need; `out` is the file that is to come of them."""
    train = experiment.train_of(method)
    ranks = start(train)
    policy = load(train, base, ranks)
    prompts, trained_on = load_prompts(experiment, policy, training_set(experiment, problems))
    policy, engine = prepare(train, base, policy, ranks)
    with grader_of(experiment) as grader:
        yield Laboratory(
            experiment=experiment,
            method=method,
            policy=policy,
            engine=engine,
            prompts=prompts,
            trained_on=trained_on,
            grader=grader,
            ranks=ranks,
            failures=out.parent / "unused",
            initial=weights_of(policy),
        )
