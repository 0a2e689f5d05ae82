"""The experiment files of grids: how many rows each stands for, and what the rows differ in."""

from __future__ import annotations

import pytest

from kpo.config.experiment import Experiment, load_experiment
from kpo.evals.tuning.surface import VALIDATION
from tests.workspace import REPO

LENGTH = {"memory": 47, "memory-long": 130}
"""Tokens of a response, in the mean."""


def read(name: str) -> Experiment:
    return load_experiment(REPO / f"workflow/config/{name}.yaml")


@pytest.mark.parametrize(
    ("name", "rows", "seeds"),
    [
        ("arms", 12, 5),
        ("arms-calm", 12, 5),
        ("memory", 1 + 2 * 5, 5),
        ("memory-long", 1 + 2 * 5, 5),
        ("clip", 4 * 4, 5),
        ("staleness", 4 * 4 * 3, 5),
        ("reuse", 5 * 3, 5),
        ("tuning", 4 * (4 + 4 + 4 + 3 + 3 + 4 + 5) + 4, 2),
    ],
)
def test_rows_of_a_file(name: str, rows: int, seeds: int) -> None:
    made = read(name)
    assert made.experiment == name
    assert (len(made.methods), len(made.seeds)) == (rows, seeds)
    assert (
        len({(str(m.resolved()), str(made.train_of(n))) for n, m in made.methods.items()}) == rows
    )
    assert made.evaluate.engine == "transformers"


@pytest.mark.parametrize("name", LENGTH)
def test_memory_follows_the_length_of_responses(name: str) -> None:
    rows = [method for method in read(name).methods.values() if method.family]
    for method in rows:
        memory = float(method.at["memory/length"]) * LENGTH[name]
        assert method.settings["memory"] == pytest.approx(memory, rel=2e-3)


def test_both_lengths_are_trained_alike() -> None:
    apart = {"max_prompt_tokens", "max_response_tokens", "max_tokens_per_microbatch"}
    short, long = (read(name).train.model_dump(exclude=apart) for name in LENGTH)
    assert short == long


def test_the_tuning_is_fair() -> None:
    made, default = read("tuning"), read("tiny")
    assert getattr(made.task, "held_out", None) == VALIDATION
    assert made.train == default.train
    assert not set(made.seeds) & set(range(50))
    families = {method.family for method in made.methods.values()}
    for family in families:
        rows = [n for n, method in made.methods.items() if method.family == family]
        assert len({made.train_of(row).lr for row in rows}) >= 4
        clips = {made.methods[row].at.get("clip") for row in rows}
        assert clips == {None} or len(clips) >= 3
        spent = {made.train_of(row).model_copy(update={"lr": 1.0}) for row in rows}
        assert spent == {made.train.model_copy(update={"lr": 1.0})}  # as many tokens, all but lr
