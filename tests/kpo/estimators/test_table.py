"""The table's rows: errors beside figures, means over seeds, empty cells, and what is in doubt."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest

from kpo.common.text import records_text
from kpo.estimators.figures import Replicates
from kpo.estimators.table import Found, doubts, over_seeds, rows

LABELS = {"a": "A", "b": "B"}


def replicates(slope: float, square: float) -> Replicates:
    """Of an unbiased direction, with 3 replicates whose slopes differ."""
    whole = np.array([slope, 0.5, slope**2, square, slope**2])
    without = whole + np.array([[-0.1], [0.0], [0.1]]) * np.array([1.0, 0, 0, 0, 0])
    return Replicates(whole, (without,))


def found(method: str, slope: float, age: int = 4, batches: int = 8) -> Found:
    measured = {"kl_old": slope / 10, "truth_noise": 0.1}
    return Found("fresh", age, method, batches, measured, replicates(slope, 9.0))


def test_figures_stand_before_their_errors_and_the_differences() -> None:
    first, second = rows(3, LABELS, [found("a", 1.0), found("b", 0.5)])
    assert list(second)[:7] == [
        *("seed", "rollouts", "age", "method", "label", "batches", "kl_old"),
    ]
    assert (second["seed"], second["label"], second["kl_old"]) == (3, "B", 0.05)
    assert second["slope"] == 0.5
    assert second["slope_se"] == pytest.approx(math.sqrt(2 / 3 * 0.02))  # (n - 1) / n sum squares
    assert second["bias"] == pytest.approx(0.25)
    assert second["bias_minus_first"] == pytest.approx(0.25)
    assert second["bias_minus_first_se"] == pytest.approx(0)  # both move together
    assert first["mse_minus_first"] == 0
    assert "slope_minus_first" not in second


def test_the_first_method_is_that_of_the_same_place() -> None:
    made = rows(0, LABELS, [found("a", 1.0), found("b", 0.5), found("a", 0.6), found("b", 0.5, 16)])
    assert [row["bias_minus_first"] for row in made] == pytest.approx([0, 0.25, 0.16, 0])


def test_seeds_are_averaged_place_by_place() -> None:
    by_seed = [[found("a", 1.0), found("b", 0.5)], [found("a", 0.6), found("b", 0.7, batches=4)]]
    first, second = rows("all", LABELS, over_seeds(by_seed))
    assert (first["seed"], first["method"], first["batches"]) == ("all", "a", 16)
    assert (second["method"], second["batches"]) == ("b", 12)
    assert first["slope"] == pytest.approx(0.8)
    assert first["kl_old"] == pytest.approx(0.08)
    (alone,) = rows(0, LABELS, [found("a", 1.0)])
    assert first["slope_se"] == pytest.approx(alone["slope_se"] / math.sqrt(2))
    assert first["cosine"] == pytest.approx(0.8 / math.sqrt((1 + 0.36) / 2))  # of the means


def row(seed: int, method: str, **values: Any) -> dict[str, Any]:
    place = {"seed": seed, "rollouts": "fresh", "age": 4, "method": method, "label": "A"}
    return {**place, "batches": 8, "truth_noise": 0.1, "variance": 1.0, **values}


def test_cells_without_a_value_are_empty() -> None:
    (read,) = csv.DictReader(io.StringIO(records_text([row(0, "a", variance=math.nan, mse=1 / 3)])))
    assert (read["variance"], read["mse"]) == ("", "0.33333")
    assert (read["seed"], read["label"], read["batches"]) == ("0", "A", "8")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, None),
        ({"truth_noise": 0.7}, "seed 0, a: the true gradient is hardly more than noise"),
        ({"truth_noise": math.nan}, "seed 0, a: the true gradient is hardly more than noise"),
        ({"variance": math.nan}, "seed 0, a: a gradient at age 4 is not finite"),
        ({"variance": math.nan, "batches": 1}, None),
    ],
)
def test_rows_that_are_not_to_be_relied_on_are_named(values: Any, sentence: str | None) -> None:
    said = doubts(row(0, "a", **values))
    assert said is None if sentence is None else said is not None and said.startswith(sentence)
