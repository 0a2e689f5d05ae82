"""Deviations that the code declares, beside what deviates: in its docstrings.

A paragraph of a module's, class's or function's docstring:

    Deviation: one or more sentences. Switch: `setting`. Measured: `arms`: `known` against `gspo`.

The last two are left out where nothing switches it and where nothing measured it.
`evals.ledger.effects` says what else can stand behind "Measured".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("kpo", "baselines", "evals")
_PARAGRAPH = re.compile(r"Deviation: (.+?)(?: Switch: (.+?)\.)?(?: Measured: (.+)\.)?")


@dataclass(frozen=True)
class Deviation:
    """A paragraph's parts; texts are empty where it has none.

    Attributes:
        module: the path of the file, from the repository's root.
    """

    module: str
    text: str
    switch: str
    measured: str


def declared(root: Path) -> list[Deviation]:
    """All that the packages below `root` declare, by path."""
    paths = (path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return [
        Deviation(path.relative_to(root).as_posix(), *parts)
        for path in paths
        for parts in _paragraphs(path)
    ]


def _paragraphs(path: Path) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(ast.parse(path.read_bytes(), path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                found = _PARAGRAPH.fullmatch(" ".join(paragraph.split()))
                if found and paragraph.startswith("Deviation"):
                    text, switch, measured = (part or "" for part in found.groups())
                    yield text, switch, measured
