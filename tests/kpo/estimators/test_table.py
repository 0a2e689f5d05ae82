"""The table's rows: errors beside figures, means over seeds, empty cells, and what is in doubt."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest

from kpo.estimators.figures import FIGURES, Replicates
from kpo.estimators.table import doubts, figures_row, over_seeds, text

N = len(FIGURES)


def row(seed: int, method: str, **values: Any) -> dict[str, Any]:
    place = {"seed": seed, "label": method.upper(), "rollouts": "fresh", "age": 4, "method": method}
    return {
        **place,
        "batches": 8,
        "truth_noise": 0.1,
        "variance": 1.0,
        "variance_se": 0.3,
        **values,
    }


def replicates(start: float) -> Replicates:
    same = np.full((3, N), start)
    return Replicates(same[0], same + np.array([[-1.0], [0.0], [1.0]]), same)


def test_figures_stand_before_their_errors_and_the_differences() -> None:
    found = figures_row(replicates(2.0), replicates(0.5))
    assert list(found)[:4] == ["cosine", "cosine_se", "cosine_batch", "cosine_batch_se"]
    assert found["mse"] == 2.0
    assert found["mse_se"] == pytest.approx(math.sqrt(2 / 3 * 2))  # (n - 1) / n sum of squares
    assert found["mse_minus_first"] == 1.5
    assert found["mse_minus_first_se"] == 0  # both move together
    assert "cosine_minus_first" not in found


def test_seeds_are_averaged_place_by_place() -> None:
    rows = [row(0, "a"), row(0, "b", variance=9.0), row(1, "a", variance=3.0, variance_se=0.4)]
    first, second = over_seeds(rows)
    assert (first["seed"], first["method"], first["label"], first["batches"]) == (
        "all",
        "a",
        "A",
        16,
    )
    assert first["variance"] == 2.0
    assert first["variance_se"] == pytest.approx(0.5 / 2)
    assert (second["method"], second["variance"], second["batches"]) == ("b", 9.0, 8)


def test_cells_without_a_value_are_empty() -> None:
    (read,) = csv.DictReader(io.StringIO(text([row(0, "a", variance=math.nan, variance_se=1 / 3)])))
    assert (read["variance"], read["variance_se"]) == ("", "0.33333")
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
