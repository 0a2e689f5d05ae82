"""The command line of a comparison of estimators: what it refuses before it starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kpo import shootout

CONFIG = "workflow/config/shootout.yaml"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rollouts", "0"], "error: --rollouts is 0, but must be at least 1\n"),
        (["--truth", "0"], "error: --truth is 0, but must be at least 3\n"),
        (["--ages", "4", "-1"], "error: --ages is -1, but must be at least 0\n"),
        ([], "error: --base {base}: no such folder\n"),
    ],
)
def test_what_it_is_asked_is_checked_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    base, out = tmp_path / "base", tmp_path / "out.csv"
    command = ["--config", CONFIG, "--base", str(base), "--out", str(out), *arguments]
    monkeypatch.setattr(sys, "argv", ["shootout", *command])
    with pytest.raises(SystemExit) as end:
        shootout.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == sentence.format(base=base)
    assert not out.exists()
