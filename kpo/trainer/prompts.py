"""The prompts of a run: its training set as the policy's tokenizer encodes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kpo.config.experiment import Experiment
from kpo.config.limits import faults_of
from kpo.model.policy import Policy
from kpo.tasks.datasets.cleaning import Drop, count, refuse
from kpo.tasks.problems import DataError, content_hash
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.batch import Prompt
from kpo.trainer.training_set import TrainingSet


@dataclass(frozen=True)
class TrainingPrompts:
    """`content` is the hash of the problems that are trained on.

    `record` is the training set's (see `TrainingSet`), with the prompts that were too long among
    what was dropped; `overlong` are those.
    """

    prompts: Sequence[Prompt]
    content: str
    record: dict[str, Any]
    overlong: list[Drop]


def load_prompts(experiment: Experiment, policy: Policy, found: TrainingSet) -> TrainingPrompts:
    """The training set's prompts, without those of more than train.max_prompt_tokens.

    Raises DataError for a model that has no room for the experiment's sequences, or that an engine
    cannot run, prompts that are too long where the
    data section refuses them, and too few problems for a step.
    """
    train, protocol = experiment.train, PROTOCOLS[experiment.prompt]
    if faults := faults_of(train, experiment.evaluate, policy.model.config):
        raise DataError(faults[0])
    encoded = [
        (problem, protocol.encode(policy.tokenizer, problem.problem, "training"))
        for problem in found.problems
    ]
    longest = train.max_prompt_tokens
    drops = [
        Drop("overlong", [problem.id], {"tokens": len(tokens)})
        for problem, tokens in encoded
        if len(tokens) > longest
    ]
    refuse(train.problems, experiment.data.overlong, drops)
    kept = [(problem, tokens) for problem, tokens in encoded if len(tokens) <= longest]
    if not kept:
        raise DataError(
            f"{train.problems}: every prompt has more than train.max_prompt_tokens ({longest})"
        )
    if train.epochs and train.epochs * len(kept) < train.prompts:
        raise DataError(
            f"train.epochs ({train.epochs}) over {len(kept)} problems is less than one step of"
            f" train.prompts ({train.prompts})"
        )
    content = content_hash(problem for problem, _ in kept)
    return TrainingPrompts(
        prompts=[Prompt(problem.id, tokens, problem.answer) for problem, tokens in kept],
        content=content,
        record={
            **{key: value for key, value in found.record.items() if key != "settings"},
            "problems": len(kept),
            "problems_sha256": content,
            "cleaned_sha256": found.record["problems_sha256"],  # before prompts were too long
            "dropped": {**found.record["dropped"], **count(drops)},
        },
        overlong=drops,
    )
