"""What other packages offer by entry points, beside the suite's own, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

Offered = TypeVar("Offered")


@cache
def offered(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, by name; one that two lists of one package hold stands once."""
    return tuple(
        sorted(set(entry_points(group=group)), key=lambda point: (point.name, point.value))
    )


def names(own: Iterable[str], group: str) -> list[str]:
    """All names there are, the suite's own first."""
    return list(dict.fromkeys([*own, *(point.name for point in offered(group))]))


def find(name: str, own: Mapping[str, Offered], group: str, kind: str) -> Offered:
    """What a name stands for, imported where another package offers it.

    `kind` is what it is called in messages. Raises ValueError for a name that nobody or more than
    one offers, and for what cannot be imported.
    """
    points = [point for point in offered(group) if point.name == name]
    places = ["kpo"] * (name in own) + [_place(point) for point in points]
    if not places:
        raise ValueError(
            f"unknown {kind} {name!r}; there is {', '.join(sorted(names(own, group)))}"
        )
    if len(places) > 1:
        raise ValueError(
            f"{kind} {name!r} is offered by {' and '.join(places)}: one of them must take another"
            f" name in its entry points {group!r}, or go"
        )
    if name in own:
        return own[name]
    try:
        loaded: Offered = points[0].load()
    except Exception as error:  # whatever a foreign module does when it is imported
        raise ValueError(
            f"{kind} {name!r} of {places[0]} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return loaded


def _place(point: EntryPoint) -> str:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
    return f"{package} ({point.value})"
