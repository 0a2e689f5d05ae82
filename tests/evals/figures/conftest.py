"""Figures as they are just before they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from kpo.evals.figures import drawing


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What is drawn from now on, instead of files."""
    figures: list[Figure] = []

    def save(figure: Figure, path: Path) -> None:
        figures.append(figure)

    monkeypatch.setattr(drawing, "save", save)
    return figures
