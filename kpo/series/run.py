"""Structure in an experiment's log-ratios, from the base policy to its table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kpo.config.experiment import Experiment
from kpo.model.policy import Policy
from kpo.series.dump import dump_to
from kpo.series.places import STAGES, USES
from kpo.series.record import Heard, Listening, ListeningTrainer
from kpo.series.table import measured_at
from kpo.trainer.laboratory import Laboratory, Study, check_alone, laboratory


def check(experiment: Experiment) -> None:
    """Raise UserError for an experiment whose log-ratios cannot be listened to."""
    for method in experiment.methods:
        check_alone(experiment, method, "log-ratios are looked at")


def run(
    experiment: Experiment, base: Path, problems: Path | None, out: Path, dump: Path | None = None
) -> None:
    """Train every method with every seed, and write the measures of its log-ratios.

    What they are measured on goes to the folder `dump`, a file a method.
    """
    study = Study(experiment, __name__)
    rows: list[dict[str, Any]] = []
    for method in experiment.methods:
        keep = nullcontext() if dump is None else dump_to(dump / f"{method}.parquet")
        with laboratory(experiment, method, base, problems, out) as lab, keep as kept:
            rows += _rows(lab, kept)
    study.write(out, rows, lab)


def _rows(
    lab: Laboratory, kept: Callable[[int, Policy, Heard], None] | None
) -> list[dict[str, Any]]:
    """Train with every seed; the rows of all seeds' log-ratios together, by stage and use."""
    experiment, method = lab.experiment, lab.experiment.methods[lab.method]
    places = [(stage, use) for stage in STAGES for use in USES]
    found = {place: measured_at(*place) for place in places}
    for seed in experiment.seeds:

        def hear(heard: Heard, seed: int = seed) -> None:
            found[heard.stage, heard.use].add(heard.log_ratios)
            if kept is not None:
                kept(seed, lab.policy, heard)

        trainer = lab.trainer(ListeningTrainer, seed, Listening(method.build()), heard=hear)
        for _ in tqdm(trainer.record(), f"{lab.method} {seed}", trainer.steps, unit="step"):
            pass
    place = {"experiment": experiment.experiment, "method": method.label}
    return [
        row
        for (stage, use), measured in found.items()
        if measured
        for row in measured.rows(**place, stage=stage, use=use)
    ]
