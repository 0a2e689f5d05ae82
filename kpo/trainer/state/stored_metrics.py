"""What the updates of an unfinished step saw, as JSON and tensors and back, for checkpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kpo.diagnostics import RatioStatistics
from kpo.trainer.step import StepMetrics

PREFIX = "metrics."
"""Begins the names of these tensors."""


def as_json(metrics: Sequence[StepMetrics]) -> list[dict[str, Any]]:
    """All of each rank's metrics but the ratios' tokens; sums are told to the last bit."""
    return [
        {
            "updates": own.updates,
            "sums": own.sums,
            "counts": own.counts,
            "seed": own.ratios.seed,
            "switches": {name: pair.tolist() for name, pair in own.ratios.switches.items()},
        }
        for own in metrics
    ]


def as_tensors(metrics: Sequence[StepMetrics]) -> dict[str, Tensor]:
    """The tokens of each rank's ratios."""
    return {
        f"{PREFIX}{rank}.{name}": torch.cat(parts)
        for rank, own in enumerate(metrics)
        for name, parts in own.ratios.tokens.items()
    }


def restored(
    content: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor]
) -> list[StepMetrics]:
    """The inverse of the two: each rank's metrics."""
    return [
        StepMetrics(
            updates=own["updates"],
            sums=defaultdict(float, own["sums"]),
            counts=defaultdict(float, own["counts"]),
            ratios=RatioStatistics(
                own["seed"],
                {name: [tensors[f"{PREFIX}{rank}.{name}"]] for name in RatioStatistics().tokens},
                {name: torch.tensor(pair).double() for name, pair in own["switches"].items()},
            ),
        )
        for rank, own in enumerate(content)
    ]
