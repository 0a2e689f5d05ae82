"""Rows of structure.csv: measures of recorded log-ratios, beside what chance gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from kpo.common.text import number
from kpo.structure.measures import Structure
from kpo.structure.ragged import Ragged, random_signs, shuffled

MEASURED, SHUFFLED, SIGNS, PAPER = "measured", "shuffled", "random signs", "paper"
PAPERS = {"switch": 0.42, "switch_filtered": 0.01}
"""What arXiv 2602.10609 reports of direction switches, .41 to .43 before the filter."""


def measured(parts: Iterable[Ragged], seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Measures of log-ratios as they are, shuffled within responses, and with random signs."""
    rng = np.random.default_rng(seed)
    found = {MEASURED: Structure(), SHUFFLED: Structure(), SIGNS: Structure()}
    for z in parts:
        found[MEASURED].add(z)
        found[SHUFFLED].add(shuffled(z, rng))
        found[SIGNS].add(random_signs(z, rng))
    for name, structure in found.items():
        yield name, structure.summary()


def cells(place: Mapping[str, str], what: str, measures: Mapping[str, float]) -> dict[str, str]:
    """One row; empty where there is nothing to measure."""
    texts = {name: "" if np.isnan(value) else number(value, 4) for name, value in measures.items()}
    return {**place, "what": what, **texts}
