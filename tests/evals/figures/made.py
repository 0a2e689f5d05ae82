"""CSV files of studies and tables, made by the code that makes them, from numbers made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kpo.common.text import csv_text, records_text
from kpo.estimators.figures import Products, Replicates
from kpo.estimators.table import ALL, Found, over_seeds, rows
from kpo.evals.tuning.sheets import surface_csv
from kpo.evals.tuning.surface import read_surface
from kpo.series.places import STAGES, USES
from kpo.series.ragged import Ragged
from kpo.series.table import Measured
from tests.evals.tuning.small import experiment, finish

SETTINGS = ("q", "memory", "clip_low", "clip_high", "start")
METHODS = ("KPO-clipped", "GSPO")
ESTIMATORS = {"grpo": "GRPO", "kpo": "KPO-clipped", "kpo-wide": "KPO, clip 0.75 / 1.0"}


def shootout(path: Path) -> Path:
    """A shootout.csv of three methods at three ages, whose gradients lose the direction."""
    rng = np.random.default_rng(0)

    def found(method: str, place: int, age: int, rollouts: str) -> Found:
        truth = np.ones(8) + rng.normal(size=(6, 8)) / 4
        own = np.ones(8) + rng.normal(size=(6, 8)) * (0.3 + place * age / 20)
        products = Products(own @ own.T, own @ truth.T, truth @ truth.T)
        return Found(rollouts, age, method, 6, {"kl_old": 0.1}, Replicates.of(products))

    seeds = [
        [
            found(method, place, age, rollouts)
            for rollouts, ages in (("fresh", (0, 1, 16)), ("trained_on", (16,)))
            for age in ages
            for place, method in enumerate(ESTIMATORS)
        ]
        for _ in range(2)
    ]
    made = [row for seed, one in enumerate(seeds) for row in rows(seed, ESTIMATORS, one)]
    path.write_text(records_text([*made, *rows(ALL, ESTIMATORS, over_seeds(seeds))]))
    return path


def structure(path: Path, methods: Sequence[str] = METHODS) -> Path:
    """A structure.csv: white noise at first use, a moving average later."""
    rng = np.random.default_rng(1)
    made: list[dict[str, Any]] = []
    for method in methods:
        for stage in STAGES:
            for use in USES:
                noise = rng.normal(size=1280)
                z = noise if use == "first" else noise + np.roll(noise, 1)
                measured = Measured(0)
                measured.add(Ragged(z, np.full(16, 80)))
                place = {"experiment": "structure", "method": method, "stage": stage, "use": use}
                made += measured.rows(**place)
    path.write_text(records_text(made))
    return path


def surface(folder: Path) -> Path:
    """The tuning.csv of a small finished tuning."""
    made = experiment(folder)
    points = read_surface(made, finish(folder, made, {"grpo-0.0002-paper": 8}))
    path = folder / "tuning.csv"
    path.write_text(surface_csv(points))
    return path


def grid(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A grid.csv of rows: method, name, family, values of SETTINGS, then reward and its limits."""
    measures = ("seeds", "collapsed_%", "reward_last5_%", "response_tokens")
    limits = ("reward_last5_%_low", "reward_last5_%_high")
    head = ["method", "name", "family", *SETTINGS, *measures, *limits]
    made = [
        [*row[:-1], "3", "0.00", reward, "47" if reward else "", reward, reward]
        for row in rows
        for reward in row[-1:]
    ]
    path.write_text(csv_text([head, *made]))
    return path


def curves(path: Path, rewards: dict[str, Sequence[Sequence[float]]]) -> Path:
    """A curves.csv of rewards by name, one list a seed; other metrics follow from them."""
    lines = [
        [name, str(seed), str(step), *(f"{x}" for x in (reward, 1 - reward, reward / 10, 0.5))]
        for name, seeds in rewards.items()
        for seed, steps in enumerate(seeds)
        for step, reward in enumerate(steps)
    ]
    head = ["name", "seed", "step", "reward", "entropy", "kl_old", "clip_fraction"]
    path.write_text(csv_text([head, *lines]))
    return path
