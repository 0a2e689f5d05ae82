"""What the formats of a table share: figures and settings as text."""

from __future__ import annotations

import math
from typing import Any

from evals.table.data import NOISE, Row, Table

UNKNOWN = "—"


def percent(share: float | None, digits: int = 2) -> str:
    """A share in %, empty where unknown."""
    text = "" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"
    return text[1:] if text and float(text) == 0 and text.startswith("-") else text


def number(value: Any, digits: int = 6) -> str:
    """A setting or measurement; empty where there is none. 1e-6, not 1e-06."""
    if value is None:
        return ""
    return f"{value:.{digits}g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def settings_text(row: Row) -> str:
    """A row's settings for readers; a filter by q and by memory in tokens, a clip by both sides."""
    left = dict(row.settings)
    parts = []
    if left.get("q") is not None and left.get("memory") is not None:
        memory = float(number(float(left.pop("memory")), 3))
        parts.append(f"q {number(left.pop('q'), 3)} (memory {memory:.15g} tokens)")
    if {"clip_low", "clip_high"} <= left.keys():
        low, high = left.pop("clip_low"), left.pop("clip_high")
        parts.append("no clip" if low is None else f"clip {number(low, 3)} / {number(high, 3)}")
    parts += [f"{name} {number(value, 3) or 'none'}" for name, value in left.items()]
    return ", ".join(parts) or UNKNOWN


def figures(row: Row, column: str) -> str:
    """`avg ± half-width / pass`."""
    avg, passed = row.cells["avg", column], row.cells["pass", column]
    width = percent(avg.half_width, 1) or UNKNOWN
    return f"{percent(avg.mean, 1)} ± {width} / {percent(passed.mean, 1)}"


def in_noise(table: Table, row: Row, column: str) -> bool:
    """Whether the row's avg@k differs from the first baseline's by no more than noise."""
    found = table.against(table.first, column)
    return any(c.row == row.name and c.verdict == NOISE for c in found)
