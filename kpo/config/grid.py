"""Rows that stand for many: a method with a `grid` becomes one row for each combination of values.

    kpo:
      label: KPO
      objective: kpo
      grid:
        train.lr: [5e-5, 1.5e-4]
        clip: { narrow: { clip_low: 3e-4, clip_high: 4e-4 }, wide: { clip_low: 0.2 } }

makes kpo-5e-5-narrow, "KPO, lr 5e-5, clip narrow", and three more. The values of an axis that is a
list are of the setting that it is called after, here of `train`'s lr; an axis that is a mapping has
names for sets of the row's keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from kpo.common.text import number
from kpo.config.file import merge

TRAIN = "train."
"""Begins the name of an axis, and of a table's column, that is a setting of the train section."""


def expand(methods: Any) -> Any:
    """The rows of `methods`, those with a grid replaced by their points.

    A point knows the row's name as its `family`, and its place as `at`, value by axis. Raises
    ValueError for a grid without values, a key that stands both in it and beside it, and two rows
    of one name.
    """
    if not isinstance(methods, dict):
        return methods  # refused by the schema
    rows: dict[str, Any] = {}
    for name, row in methods.items():
        gridded = isinstance(row, dict) and "grid" in row
        for point, settings in _points(name, row) if gridded else [(name, row)]:
            if point in rows:
                raise ValueError(f"two rows are called {point!r}; rename one of them")
            rows[point] = settings
    return rows


def told(at: Mapping[str, str]) -> str:
    """A place as the end of a label: `, lr 5e-5, clip narrow`."""
    return "".join(f", {axis.removeprefix(TRAIN)} {value}" for axis, value in at.items())


def _points(name: str, row: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    grid, fixed = row["grid"], {key: value for key, value in row.items() if key != "grid"}
    if not isinstance(grid, dict) or not grid:
        raise ValueError(f"{name}.grid must be a mapping of axes to values")
    axes = {axis: _values(f"{name}.grid.{axis}", str(axis), grid[axis]) for axis in grid}
    for axis, values in axes.items():
        for settings in values.values():
            if twice := _keys(settings) & _keys(fixed):
                raise ValueError(f"{name}: {min(twice)} stands both in grid.{axis} and beside it")
    for place in product(*axes.values()):
        at = dict(zip(axes, place, strict=True))
        point = dict(fixed)
        for axis, value in at.items():
            point = merge(point, axes[axis][value])
        label = f"{row.get('label', name)}{told(at)}"
        yield "-".join([name, *place]), {**point, "label": label, "family": name, "at": at}


def _values(place: str, axis: str, values: Any) -> dict[str, dict[str, Any]]:
    """What each value of an axis, by its text, sets."""
    if isinstance(values, dict) and values and all(isinstance(v, dict) for v in values.values()):
        return {_text(name): settings for name, settings in values.items()}
    if not isinstance(values, list) or not values:
        raise ValueError(f"{place} must be a list of values, or a mapping of names to settings")
    key = axis.removeprefix(TRAIN)
    made = {_text(v): {"train": {key: v}} if axis != key else {key: v} for v in values}
    if len(made) < len(values):
        raise ValueError(f"{place} must not repeat a value")
    return made


def _keys(settings: Mapping[str, Any]) -> set[str]:
    """Keys of a row, those of its train section by themselves."""
    inner = settings.get("train", {})
    return {key for key in settings if key != "train"} | {f"{TRAIN}{key}" for key in inner}


def _text(value: Any) -> str:
    return "none" if value is None else number(value).lower()
