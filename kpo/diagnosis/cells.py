"""Cells of a row as numbers. What is wrong is said with the row, the column and what is wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kpo.diagnosis.reading import RolloutError
from kpo.series.ragged import Floats

Mask = npt.NDArray[np.bool_]


def fault(where: str, column: str, found: str, wanted: str) -> RolloutError:
    """What to raise for what was found in a cell."""
    return RolloutError(f"{where}: column {column!r} {found}; wanted is {wanted}")


def is_list(value: Any) -> bool:
    """Whether a cell holds several values."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def number(where: str, column: str, value: Any) -> float:
    """A cell's one finite number."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise fault(where, column, f"holds {value!r:.40}", "a finite number")
    return float(value)


def numbers(where: str, column: str, value: Any, length: int | None = None) -> Floats:
    """A cell's list of numbers, `length` of them [T] float64; they may be NaN or infinite."""
    if not is_list(value):
        raise fault(where, column, f"holds {value!r:.40}", "a list of numbers, one a token")
    try:
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        found = f"holds {list(value)!r:.40}"
        raise fault(where, column, found, "a list of numbers, one a token") from None
    if values.ndim != 1:
        raise fault(
            where, column, f"holds lists in a list, {list(values.shape)}", "a list of numbers"
        )
    if length is not None and len(values) != length:
        raise fault(
            where, column, f"holds {len(values)} values", f"{length}, as the log-probs have"
        )
    return values


def token_mask(where: str, column: str | None, cells: Mapping[str, Any], length: int) -> Mask:
    """Which of a row's tokens are the response's [T]; all where no column says."""
    if column is None:
        return np.ones(length, dtype=bool)
    values = numbers(where, column, cells[column], length)
    if np.isnan(values).any():
        raise fault(where, column, "holds NaN or nothing", "0 or 1 for each token")
    return values != 0
