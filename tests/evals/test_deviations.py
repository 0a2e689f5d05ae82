"""The ledger that is kept is what the code and the results say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kpo.evals.deviations import main

REPO = Path(__file__).parents[2]


def test_the_ledger_that_is_kept_is_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--out", str(tmp_path / "deviations.md")])
    for name in ("deviations.md", "deviations.csv"):
        made, kept = tmp_path / name, REPO / "results/reference" / name
        assert made.read_text() == kept.read_text(), (
            "python -m evals.deviations --out results/reference/deviations.md"
        )


def test_the_csv_holds_what_the_page_does(tmp_path: Path) -> None:
    main(["--out", str(tmp_path / "d.md")])
    page = (tmp_path / "d.md").read_text()
    with (tmp_path / "d.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert {row["kind"] for row in rows} == {"setting", "declared"}
    for row in rows:
        assert f"| {row['what']} |" in page
        assert f"| {row['effect']} |" in page
