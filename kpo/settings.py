"""What an objective's settings may be: what its dataclass's annotations say, checked.

An annotation is `float`, `int`, `bool`, `str`, a `Literal`, `None`, or several of them, and
`Annotated` with bounds: `Within(gt=0)`, or pydantic's `Field(gt=0)` and annotated-types' `Gt(0)`,
which say the same. What is annotated otherwise is refused, not believed. Numbers are finite.

Own code in place of pydantic's, as the objectives are for everybody who has torch.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

_BOUNDS = {
    "gt": (operator.gt, "greater than"),
    "ge": (operator.ge, "greater than or equal to"),
    "lt": (operator.lt, "less than"),
    "le": (operator.le, "less than or equal to"),
}
_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "a valid boolean"),
    int: ((int,), "a valid integer"),
    float: ((float, int), "a valid number"),
    str: ((str,), "a valid string"),
    type(None): ((type(None),), "None"),
}


@dataclass(frozen=True, kw_only=True)
class Within:
    """Bounds of a number, as in `Annotated[float, Within(gt=0)]`; None: no bound."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None


class Settings:
    """Base of an objective's dataclass: its values are checked when it is made."""

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))


def check_settings(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Raise ValueError where a value is none that the dataclass `kind` declares, or no field of it.

    Raises TypeError where a field is annotated with what cannot be checked.
    """
    known = [field.name for field in fields(kind)]
    annotations = get_type_hints(kind, include_extras=True)
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"no setting {name!r}; there is {', '.join(known)}")
        if wanted := _wanted(annotations[name], value):
            raise ValueError(f"{name} is {value!r}, but must be {wanted}")


def _wanted(annotation: Any, value: Any) -> str:
    """What a value must be; empty where it is."""
    kind, arguments = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return _wanted(arguments[0], value) or _bounded(arguments[1:], value)
    if kind in (Union, UnionType):
        wanted = [_wanted(argument, value) for argument in arguments]
        return "" if "" in wanted else wanted[0]
    if kind is Literal:
        same = any(type(value) is type(word) and value == word for word in arguments)
        *first, last = map(repr, arguments)
        return "" if same else " or ".join(filter(None, [", ".join(first), last]))
    if annotation not in _KINDS:
        raise TypeError(
            f"a setting is annotated with {annotation!r}; it may be float, int, bool, str, a"
            " Literal, None, several of them, and Annotated with bounds"
        )
    types, words = _KINDS[annotation]
    if not isinstance(value, types) or (isinstance(value, bool) and annotation is not bool):
        return words
    return "a finite number" if isinstance(value, float) and not isfinite(value) else ""


def _bounded(metadata: Iterable[Any], value: Any) -> str:
    """What a value that is outside one of its bounds must be."""
    for part in metadata:
        for bounds in getattr(part, "metadata", [part]):  # pydantic's Field holds several
            for name, (holds, words) in _BOUNDS.items():
                bound = getattr(bounds, name, None)
                if bound is not None and not holds(value, bound):
                    return f"{words} {bound}"
    return ""
