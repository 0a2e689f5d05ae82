"""The paper's own figures, and ours beside them."""

from __future__ import annotations

import csv
from pathlib import Path

from evals.table.data import TableError


def read_reported(path: Path) -> list[dict[str, str]]:
    """The paper's figures in %, one mapping a method; unknown cells are empty."""
    if not path.is_file():
        raise TableError(f"{path} is missing.")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    for row in rows:
        for column, text in row.items():
            if column is None or text is None or "method" not in row:
                raise TableError(f"{path}: a row does not fit the header, or has no method.")
            if column != "method" and text and not text.replace(".", "", 1).isdigit():
                raise TableError(f"{path}: {column} of {row['method']} is {text!r}, not a number.")
    return rows
