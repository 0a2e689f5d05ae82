"""Reading what figures are drawn from: the CSV files of an experiment."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from kpo.common.cli import UserError

Row = Mapping[str, str]
Limits = tuple[float, float, float]
"""A mean and its interval, whose ends may be nan."""
UNKNOWN = float("nan")
_NAMES = {
    "memory": "memory [tokens]",
    "clip high": "upper clip",
    "staleness": "age of rollouts [steps]",
    "mini batches": "mini-batches a step",
    "passes": "passes over a batch",
    "lr": "learning rate",
    "reward last5 %": "reward, last 5 steps [%]",
    "collapsed %": "collapsed runs [%]",
    "response tokens": "response [tokens]",
    "kl old": "KL to the old policy [nats]",
}


def read_rows(path: Path, wanted: Iterable[str] = ()) -> list[Row]:
    """The rows of a CSV file.

    Raises UserError for a file that is not there, has no rows, or lacks a column that is wanted.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows: list[Row] = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the experiment first") from None
    if not rows:
        raise UserError(f"{path}: has no rows")
    if missing := [column for column in wanted if column not in rows[0]]:
        raise UserError(f"{path}: has no column {missing[0]}; it has {', '.join(rows[0])}")
    return rows


def value(cell: str | None) -> float:
    """A cell as a number, nan where it is empty."""
    return float(cell or "nan")


def limits(row: Row, column: str) -> Limits:
    """A column of grid.csv or of a tuning surface, with its limits."""
    return value(row[column]), value(row.get(f"{column}_low")), value(row.get(f"{column}_high"))


def heading(column: str) -> str:
    """A column's name beside an axis, with its unit where it has one."""
    words = column.removeprefix("train.").replace("_", " ")
    return _NAMES.get(words, f"{words} [%]" if "@" in words else words)
