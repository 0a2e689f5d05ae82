"""What deviations are worth, as the results that are kept say.

`arms`: `known` against `gspo`                        from results/reference/arms/differences.csv
`tiny/training.csv`: largest `reward_gap_%`           of all rows of a file
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from kpo.common.cli import UserError

NOT_KEPT = "not run"
_DIFFERENCE = re.compile(r"`([\w-]+)`: `([\w.-]+)` against `([\w.-]+)`")
_LARGEST = re.compile(r"`([\w-]+/\w+\.csv)`: largest `([\w%]+)`")


def effect(measured: str, kept: Path) -> str:
    """In words, with its interval where it is a difference; NOT_KEPT without the results of a run.

    kept: the folder of references. Raises UserError for what does not say where it stands.
    """
    if found := _DIFFERENCE.fullmatch(measured):
        experiment, row, reference = found.groups()
        return difference(kept, experiment, row, reference)
    if found := _LARGEST.fullmatch(measured):
        file, column = found.groups()
        found_rows = rows(kept / file)
        if found_rows and column not in found_rows[0]:
            raise UserError(f"{file} has no column {column}")
        values = [float(row[column]) for row in found_rows if row[column]]
        return f"{max(values, key=abs):+.1f} points at most" if values else NOT_KEPT
    raise UserError(f"Measured: {measured}: is neither a difference nor the largest of a column")


def difference(kept: Path, experiment: str, row: str, reference: str) -> str:
    """Of two rows in avg@k overall, in points, with its limits and verdict."""
    found = rows(kept / experiment / "differences.csv")
    for one in found:
        if (one["name"], one["reference"], one["benchmark"]) == (row, reference, "overall") and one[
            "metric"
        ].startswith("avg"):
            low, high = float(one["low"]), float(one["high"])
            verdict = ", inside the noise" if one["verdict"] == "inside the noise" else ""
            return f"{float(one['difference']):+.1f} ({low:+.1f} to {high:+.1f}) points{verdict}"
    if found:
        raise UserError(f"{experiment} does not compare {row} with {reference} overall")
    return NOT_KEPT


def rows(path: Path) -> list[dict[str, str]]:
    """Of a CSV file; none where there is no file."""
    return [*csv.DictReader(path.read_text().splitlines())] if path.is_file() else []
