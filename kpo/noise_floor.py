"""The noise floor: log-ratios where no weight has moved, from rounding alone.

Old log-probs and those of an update come from other kernels and other micro-batches. In half
precision that alone moves a log-ratio by thousandths, which a clip of 3e-4 takes for off-policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

NOISE = ("noise_rms", "noise_max", "noise_clip_fraction")
"""Of a log-ratio, in nats, and the share of tokens that the objective clips for it."""


def noise_of(metrics: Path) -> dict[str, float]:
    """That of a run, from its metrics.jsonl."""
    lines = metrics.read_text(encoding="utf-8").splitlines()
    return summary([json.loads(line) for line in lines])


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """One noise floor of several steps or runs: the mean, of the largest the largest."""
    columns = {name: [row[name] for row in rows if name in row] for name in NOISE}
    return {
        name: max(values) if name == "noise_max" else sum(values) / len(values)
        for name, values in columns.items()
        if values
    }
