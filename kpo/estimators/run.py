"""A comparison of estimators, from the base policy to its table.

The first method trains, for each seed anew. At its last weights every method's gradient is looked
at, on responses that older weights of the same training sampled.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from kpo.common.cli import UserError, warn
from kpo.common.text import duration
from kpo.config.experiment import Experiment
from kpo.config.train import Train
from kpo.estimators.compare import Size, compare, looked_at
from kpo.estimators.frozen import Recorder
from kpo.estimators.gradients import OnPolicy
from kpo.estimators.table import ALL, Found, Row, doubts, over_seeds, rows
from kpo.objective import Objective
from kpo.trainer.laboratory import Study, check_alone, laboratory

AGES = (0, 1, 4, 16, 64)
"""Looked at where nothing else is asked for, as far as training goes."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for: ages or None, rollout batches at each and for the truth."""

    ages: tuple[int, ...] | None
    rollouts: int
    truth: int

    def size(self, train: Train, prompts: int) -> Size:
        """How much that is. Raises UserError where training is too short or has too few prompts."""
        steps = train.total_steps(prompts)
        updates = steps * train.updates
        ages = self.ages or tuple(age for age in AGES if age <= updates)
        if max(ages) > updates:
            raise UserError(
                f"--ages holds {max(ages)}, but must be at most {updates}, the updates of training"
                " (train.steps x train.mini_batches x train.passes)"
            )
        size = Size(sorted({0, *ages}), self.rollouts, self.truth)
        needed = (steps + size.steps + size.truth) * train.prompts
        if needed > prompts:
            raise UserError(
                f"training and comparison take {needed} different prompts"
                f" ({steps} + {size.steps} + {size.truth} rollout batches of {train.prompts}), but"
                f" {train.problems} has {prompts}: lower train.steps, --rollouts or --truth"
            )
        return size


def check(experiment: Experiment) -> None:
    """Raise UserError for an experiment whose estimators cannot be compared."""
    first, *others = experiment.methods
    check_alone(experiment, first, "gradients are compared")
    for name in others:
        if experiment.methods[name].train:
            raise UserError(
                f"methods.{name}.train has no use: only the first method, {first}, trains; drop it"
            )


def run(experiment: Experiment, asked: Asked, base: Path, problems: Path | None, out: Path) -> None:
    """Compare the methods of an experiment at each of its seeds; write the CSV and its manifest."""
    first = next(iter(experiment.methods))
    study = Study(experiment, __name__)
    found = list[list[Found]]()
    with laboratory(experiment, first, base, problems, out) as lab:
        size = asked.size(experiment.train_of(first), len(lab.prompts))
        for seed in experiment.seeds:
            recorder = lab.trainer(Recorder, seed, ages=size.ages)
            found.append(_found(experiment, recorder, size))
    study.write(out, _rows(experiment, found), lab, size=vars(size))


def _found(experiment: Experiment, recorder: Recorder, size: Size) -> list[Found]:
    """Train with one seed, and compare."""
    methods = {name: method.build() for name, method in experiment.methods.items()}
    seeds, sets = len(experiment.seeds), len(looked_at(recorder, size.ages))
    bar = tqdm(desc=f"seed {recorder.seed}", total=recorder.steps + 1 + sets, unit="part")

    def after(step: int) -> None:
        bar.update()
        if step == 1 and recorder.seed == experiment.seeds[0]:
            tqdm.write(_forecast(recorder, size, methods, seeds), sys.stderr)

    recorder.record(after)
    with bar:
        return list(compare(recorder, methods, size, bar.update))


def _rows(experiment: Experiment, found: Sequence[Sequence[Found]]) -> list[Row]:
    """The rows of every seed, then those of their means; says which are in doubt."""
    labels = {name: method.label for name, method in experiment.methods.items()}
    seeds: list[int | str] = [*experiment.seeds, ALL]
    by_seed = zip(seeds, [*found, over_seeds(found)], strict=True)
    made = [row for seed, own in by_seed for row in rows(seed, labels, own)]
    for sentence in dict.fromkeys(filter(None, map(doubts, made))):
        warn(sentence)
    return made


def _forecast(recorder: Recorder, size: Size, methods: Mapping[str, Objective], seeds: int) -> str:
    """What is to be done, and how long it will take, by the first step."""
    kinds = len(set(map(OnPolicy.of, methods.values())))
    seconds = seeds * forecast(recorder, size, len(methods), kinds)
    return (
        f"{seeds} x {recorder.steps} steps of training, {size.truth} rollout batches for the true"
        f" gradient, {size.steps} at each of {len(size.ages)} ages for those of {len(methods)}"
        f" methods: about {duration(seconds)}, by the first step"
    )


def forecast(recorder: Recorder, size: Size, methods: int, kinds: int) -> float:
    """Seconds of a whole seed, by what its first step took.

    A third of an update is its forward pass, which all methods share.
    """
    config, took = recorder.config, recorder.log.rows[0][2]
    update = took["update"] / config.passes
    rollout = (sum(took.values()) - took["update"]) / (config.staleness + 1)
    fresh = len(size.ages) * size.steps
    used = len(looked_at(recorder, size.ages)) - len(size.ages)
    sampled = recorder.steps + fresh + size.truth
    gradients = size.truth * (1 + 2 * kinds) / 3 + (fresh + used) * (2 + 2 * methods) / 3
    return rollout * sampled + update * (recorder.steps * config.passes + gradients)
