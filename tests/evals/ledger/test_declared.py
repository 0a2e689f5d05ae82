"""Deviations stand in docstrings, in one form."""

from __future__ import annotations

import re
from pathlib import Path

from kpo.evals.ledger.declared import PACKAGES, Deviation, declared

REPO = Path(__file__).parents[3]


def written(root: Path, source: str) -> list[Deviation]:
    folder = root / "kpo/room"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text(source)
    return declared(root)


def test_the_parts_of_a_paragraph(tmp_path: Path) -> None:
    source = '''"""A module.

Deviation: here it is
otherwise. Twice. Switch: `grading.rule`. Measured: `a`: `b`
against `c`; `d/e.csv`: largest `f`.

No deviation: nor is this one.
"""


def f() -> None:
    """Deviation: a function's."""
'''
    place = "kpo/room/module.py"
    assert written(tmp_path, source) == [
        Deviation(
            place,
            "here it is otherwise. Twice.",
            "`grading.rule`",
            "`a`: `b` against `c`; `d/e.csv`: largest `f`",
        ),
        Deviation(place, "a function's.", "", ""),
    ]


def test_an_example_in_a_docstring_declares_nothing(tmp_path: Path) -> None:
    assert not written(tmp_path, '"""As\n\n    Deviation: this.\n\nOr so.\n"""\n')


def test_no_declaration_is_missed_for_its_spelling() -> None:
    """Whatever begins with the word is read."""
    begun = sum(
        len(re.findall(r"^Deviation", path.read_text(), re.MULTILINE))
        for package in PACKAGES
        for path in (REPO / package).rglob("*.py")
    )
    assert begun == len(declared(REPO)) > 10
