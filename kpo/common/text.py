"""Numbers as texts: in tables, and in the names of rows."""

from __future__ import annotations

from typing import Any


def number(value: Any, digits: int = 6) -> str:
    """A setting or measurement; empty where there is none. 1e-6, not 1e-06."""
    if value is None:
        return ""
    return f"{value:.{digits}g}".replace("e-0", "e-") if isinstance(value, float) else str(value)
