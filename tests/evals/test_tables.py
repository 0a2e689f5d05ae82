"""The command that makes tables: what it says, and what it leaves alone."""

from pathlib import Path

import pytest

from kpo.evals import tables
from tests.evals.demo import FILES, change, make


def test_a_refusal_leaves_earlier_tables_alone(root: Path) -> None:
    make(root)
    before = {name: (root / "out" / name).read_bytes() for name in FILES}
    (root / "results/demo/evals/base/grades.jsonl").unlink()
    with pytest.raises(SystemExit):
        make(root)
    assert {path.name: path.read_bytes() for path in (root / "out").iterdir()} == before


def test_a_wrong_config_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(root, "samples: 4", "sampels: 4")
    with pytest.raises(SystemExit) as stop:
        make(root)
    assert stop.value.code == 2
    assert "sampels" in capsys.readouterr().err


def test_help_says_what_is_read_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tables.main(["--help"])
    text = capsys.readouterr().out
    for name in ("grades.jsonl", "manifest.json", "reported/table1.csv", *FILES):
        assert name in text
