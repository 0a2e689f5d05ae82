"""Effects are read from the results that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpo.common.cli import UserError
from kpo.evals.ledger.effects import effect
from tests.evals.ledger.differences import HEADER


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    rows = (
        "A,a,b,named,easy,avg@8,9.00,8.00,10.00,higher",
        "A,a,b,named,overall,pass@8,7.00,6.00,8.00,higher",
        "A,a,b,named,overall,avg@8,-1.26,-2.00,0.50,inside the noise",
        "A,a,c,named,overall,avg@8,3.00,1.00,5.00,higher",
    )
    (folder / "differences.csv").write_text("\n".join((HEADER, *rows)))
    (folder / "training.csv").write_text("name,gap\na,1.0\nb,\nc,-2.5\n")
    return tmp_path


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ("`demo`: `a` against `b`", "-1.3 (-2.0 to +0.5) points, inside the noise"),
        ("`demo`: `a` against `c`", "+3.0 (+1.0 to +5.0) points"),
        ("`demo/training.csv`: largest `gap`", "-2.5 points at most"),
        ("`other`: `a` against `b`", "not run"),
        ("`other/training.csv`: largest `gap`", "not run"),
    ],
)
def test_what_is_said(kept: Path, measured: str, said: str) -> None:
    assert effect(measured, kept) == said


@pytest.mark.parametrize(
    ("measured", "fault"),
    [
        ("`demo`: `b` against `a`", "demo does not compare b with a overall"),
        ("by hand", "Measured: by hand: is neither"),
        ("`demo/training.csv`: largest `gaps`", "demo/training.csv has no column gaps"),
    ],
)
def test_what_does_not_stand_there_is_an_error(kept: Path, measured: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        effect(measured, kept)
