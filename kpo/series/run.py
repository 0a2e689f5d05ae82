"""Structure in an experiment's log-ratios, from the base policy to its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm import tqdm

from kpo.config.experiment import Experiment
from kpo.series.record import STAGES, USES, Listening, ListeningTrainer
from kpo.series.table import measured_at
from kpo.trainer.laboratory import Laboratory, Study, check_alone, laboratory


def check(experiment: Experiment) -> None:
    """Raise UserError for an experiment whose log-ratios cannot be listened to."""
    for method in experiment.methods:
        check_alone(experiment, method, "log-ratios are looked at")


def run(experiment: Experiment, base: Path, problems: Path | None, out: Path) -> None:
    """Train every method with every seed, and write the measures of its log-ratios."""
    study = Study(experiment, __name__)
    rows: list[dict[str, Any]] = []
    for method in experiment.methods:
        with laboratory(experiment, method, base, problems, out) as lab:
            rows += _rows(lab)
    study.write(out, rows, lab)


def _rows(lab: Laboratory) -> list[dict[str, Any]]:
    """Train with every seed; the rows of all seeds' log-ratios together, by stage and use."""
    experiment, method = lab.experiment, lab.experiment.methods[lab.method]
    places = [(stage, use) for stage in STAGES for use in USES]
    found = {place: measured_at(*place) for place in places}
    for seed in experiment.seeds:
        objective = Listening(method.build())
        trainer = lab.trainer(
            ListeningTrainer,
            seed,
            objective,
            heard=lambda stage, use, z: found[stage, use].add(z),
        )
        for _ in tqdm(trainer.record(), f"{lab.method} {seed}", trainer.steps, unit="step"):
            pass
    place = {"experiment": experiment.experiment, "method": method.label}
    return [
        row
        for (stage, use), measured in found.items()
        if measured
        for row in measured.rows(**place, stage=stage, use=use)
    ]
