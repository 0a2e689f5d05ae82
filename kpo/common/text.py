"""Numbers as texts, in tables and in the names of rows; tables as the text of CSV files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def number(value: Any, digits: int = 6) -> str:
    """A setting or measurement; empty where there is none. 1e-6, not 1e-06."""
    if value is None:
        return ""
    return f"{value:.{digits}g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as the text of a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def records_text(rows: Sequence[Mapping[str, Any]], digits: int = 5) -> str:
    """Rows with the same names as the text of a CSV file; empty where a number is not finite."""
    texts = [[_finite(value, digits) for value in row.values()] for row in rows]
    return csv_text([list(rows[0]), *texts])


def _finite(value: Any, digits: int) -> str:
    return "" if isinstance(value, float) and not math.isfinite(value) else number(value, digits)


def duration(seconds: float) -> str:
    """For readers, in the unit that fits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"
