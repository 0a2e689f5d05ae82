"""Trainings of which no run folder is written, one after the other, from the same base policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from kpo.common.cli import UserError
from kpo.common.files import sha256_file, write_text
from kpo.common.lock import hold
from kpo.common.manifest import Manifest
from kpo.common.source_code import code_hash
from kpo.common.text import records_text
from kpo.config.builds import check_builds
from kpo.config.experiment import Experiment
from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import needs_sharding
from kpo.evals.grading.grader import Grader
from kpo.model.policy import Policy, weights_hash
from kpo.objective_check import check_methods
from kpo.rollout.engine import RolloutEngine
from kpo.trainer.batch import Prompt
from kpo.trainer.guards.preemption import leave_on_sigterm
from kpo.trainer.log import RunLog
from kpo.trainer.loop import Trainer
from kpo.trainer.prompts import load_prompts
from kpo.trainer.reward import reward_of
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
            " by one process in float32: lower train.gpus, ranks and nodes to 1, and set"
            " train.scoring_dtype to float32"
        )


def begin(experiment: Experiment, out: Path) -> None:
    """Refuse what can be refused at once, and take the file that is to be written."""
    check_methods({name: method.build() for name, method in experiment.methods.items()})
    check_builds(experiment)
    hold(out)
    leave_on_sigterm()


@dataclass(frozen=True)
class Laboratory:
    """What trainings of one method's settings share.

    Attributes:
        failures: a folder beside which a failed update is saved; nothing else is written.
        initial: the base policy's weights.
    """

    experiment: Experiment
    method: str
    base: Path
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
            reward=reward_of(experiment, seed, self.grader),
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
    found = training_set(experiment, problems)
    config, tokenizer = policy.model.config, policy.tokenizer
    prompts, trained_on = load_prompts(experiment, config, tokenizer, found)
    policy, engine = prepare(train, base, policy, ranks)
    with grader_of(experiment) as grader:
        yield Laboratory(
            experiment=experiment,
            method=method,
            base=base,
            policy=policy,
            engine=engine,
            prompts=prompts,
            trained_on=trained_on,
            grader=grader,
            ranks=ranks,
            failures=out.parent / "unused",
            initial=weights_of(policy),
        )


class Study:
    """The table that an experiment's trainings are looked into for, and its manifest.

    module: makes the table; its code, as it is when the study begins, goes into the manifest.
    """

    def __init__(self, experiment: Experiment, module: str) -> None:
        self.settings = {
            "methods": {name: experiment.section("train", name) for name in experiment.methods},
            "seeds": experiment.seeds,
        }
        self.manifest = Manifest(experiment.experiment, self.settings)
        self.code = code_hash(
            module, "kpo.evals.grading.worker", without={"kpo.registry", "kpo.tasks.registry"}
        )

    def write(
        self, out: Path, rows: Sequence[Mapping[str, Any]], lab: Laboratory, **facts: Any
    ) -> None:
        """Write the CSV, and beside it its manifest, with further facts; `lab` is the last one."""
        path = out.with_suffix(".manifest.json")
        path.unlink(missing_ok=True)  # none ever stands beside another's table
        write_text(out, records_text(rows))
        self.manifest.content |= {"settings": self.settings, **facts, "code": self.code}
        self.manifest.content |= {"base": weights_hash(lab.base)}
        self.manifest.content |= {"training_set": lab.trained_on.record}
        self.manifest.finish(path, engine=lab.engine.describe(), table=sha256_file(out))
