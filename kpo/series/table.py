"""Rows of structure.csv: measures of log-ratios, beside what chance gives and the paper reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kpo.common.seeding import derive_seed
from kpo.series.measures import Structure
from kpo.series.ragged import Floats, Portions, Ragged, random_signs, shuffled

PAPER = {"switch": 0.42, "switch_filtered": 0.01}
"""Direction switches that arXiv 2602.10609 reports: .41 to .43 before its filter, .01 after."""


class Measured:
    """Log-ratios as they are, shuffled within responses, and with random signs, added up.

    They are measured in portions that do not depend on how they come, so that the same responses in
    the same order give the same figures.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.found = {name: Structure() for name in ("measured", "shuffled", "random signs")}
        self.portions = Portions[Floats]()

    def add(self, z: Ragged) -> None:
        """Add responses."""
        for one in np.split(z.values, z.starts[1:]) if len(z.lengths) else ():
            self._measure(self.portions.add(one, len(one)))

    def _measure(self, portion: list[Floats]) -> None:
        if not portion:
            return
        z = Ragged.of(portion)
        nulls = shuffled(z, self.rng), random_signs(z, self.rng)
        for structure, values in zip(self.found.values(), (z, *nulls), strict=True):
            structure.add(values)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.portions.waiting) or self.found["measured"].tokens > 0

    def rows(self, **place: Any) -> Iterator[dict[str, Any]]:
        """A row each, and one of the paper's figures; nan where nothing is known."""
        self._measure(self.portions.take())
        for what, structure in self.found.items():
            summary = structure.summary()
            yield {**place, "what": what, **summary}
        unknown = dict.fromkeys(summary, float("nan"))
        yield {**place, "what": "paper", **unknown, **PAPER}


def measured_at(stage: str, use: str) -> Measured:
    """What adds up log-ratios of a stage of training and a use; its chance is the place's own."""
    return Measured(derive_seed("structure", stage, use))
