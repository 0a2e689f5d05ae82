"""The prompts of a run: its training set as the policy's tokenizer encodes it."""

from __future__ import annotations

from typing import Any

from kpo.config.experiment import Experiment
from kpo.config.limits import faults_of
from kpo.tasks.datasets.cleaning import Drop, count, refuse
from kpo.tasks.problems import DataError, content_hash
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.batch import Prompt
from kpo.trainer.training_set import TrainingSet


def load_prompts(
    experiment: Experiment, config: Any, tokenizer: Any, found: TrainingSet
) -> tuple[list[Prompt], TrainingSet]:
    """The training set's prompts, without those of more than train.max_prompt_tokens.

    `config` and `tokenizer` are the model's, as transformers has them.

    Returns them, and the set of just their problems: its record counts the others among what was
    dropped, its drops are those alone. Raises DataError for a model that has no room for the
    experiment's sequences, or that an engine cannot run, prompts that are too long where the data
    section refuses them, and too few problems for a step.
    """
    train, protocol = experiment.train, PROTOCOLS[experiment.prompt]
    if faults := faults_of(train, experiment.evaluate, config):
        raise DataError(faults[0])
    longest = train.max_prompt_tokens
    encoded = {p.id: protocol.encode(tokenizer, p.problem, "training") for p in found.problems}
    too_long = {name: len(tokens) for name, tokens in encoded.items() if len(tokens) > longest}
    drops = [Drop("overlong", [name], {"tokens": length}) for name, length in too_long.items()]
    refuse(train.problems, experiment.data.overlong, drops)
    kept = [problem for problem in found.problems if problem.id not in too_long]
    if not kept:
        raise DataError(
            f"{train.problems}: every prompt has more than train.max_prompt_tokens ({longest})"
        )
    if train.epochs and train.epochs * len(kept) < train.prompts:
        raise DataError(
            f"train.epochs ({train.epochs}) over {len(kept)} problems is less than one step of"
            f" train.prompts ({train.prompts})"
        )
    record = {
        **{key: value for key, value in found.record.items() if key != "settings"},
        "problems": len(kept),
        "problems_sha256": content_hash(kept),
        "cleaned_sha256": found.record["problems_sha256"],  # before prompts were too long
        "dropped": {**found.record["dropped"], **count(drops)},
    }
    prompts = [Prompt(problem.id, encoded[problem.id], problem.answer) for problem in kept]
    return prompts, TrainingSet(kept, record, drops)
