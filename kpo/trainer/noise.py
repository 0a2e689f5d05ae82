"""The noise floor of a step: log-ratios where no weight has moved, from rounding alone.

Old log-probs and those of an update come from other kernels and other micro-batches. In half
precision that alone moves a log-ratio by thousandths, which a clip of 3e-4 takes for off-policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from kpo.diagnostics import NOISE
from kpo.objective import token_log_ratio
from kpo.trainer.batch import Rollouts, micro_batches
from kpo.trainer.step import Updater


@torch.no_grad()
def with_noise(updater: Updater, rollouts: Rollouts, rows: Sequence[int]) -> Rollouts:
    """Rollouts of the present weights with their noise floor; collective.

    It is that of half of each rank's first micro-batch of the mini-batch `rows`, computed once
    more, as an update computes it; more would cost more than a hundredth of a small model's step.
    """
    ranks = updater.ranks
    parts = micro_batches(rollouts.prompts, rollouts.responses, rows, updater.budget, ranks)
    batch = updater.forward(rollouts, parts[0][: (len(parts[0]) + 1) // 2])
    z = token_log_ratio(batch)[batch.mask.bool()].double()
    clipped, tokens = updater.objective(batch).metrics.get("clip_fraction", (0.0, 1.0))
    seen = ranks.gather(
        [float(z.square().sum()), z.numel(), float(z.abs().max()), float(clipped), float(tokens)]
    )
    squares, count, largest, clips, of = zip(*seen, strict=True)
    values = ((sum(squares) / sum(count)) ** 0.5, max(largest), sum(clips) / max(1.0, sum(of)))
    return replace(rollouts, noise=dict(zip(NOISE, values, strict=True)))


def noise_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """That of a run, from its steps' metrics: the mean, of the largest the largest.

    Nothing for a run that did not measure it.
    """
    if not all(name in row for row in rows for name in NOISE):
        return {}
    means = {name: sum(row[name] for row in rows) / len(rows) for name in NOISE}
    return {**means, "noise_max": max(row["noise_max"] for row in rows)}
