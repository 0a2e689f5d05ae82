"""Statistics of importance ratios: how far, and how consistently, a batch is off-policy.

For the raw log-ratios z and for the objective's own (filtered, averaged, or raw again):

- quantiles of the ratio exp(.) over tokens;
- `ess`: effective sample size as a share of the tokens, (mean ratio)^2 / mean squared ratio: 1 on
  policy, and towards 0 where few tokens have nearly all of the weight;
- `switch`: share of adjacent tokens whose log-ratios differ in sign, the direction switches of
  arXiv 2602.10609;
- `switch_large`: the same among neighbours that both exceed 1e-4, as most signs belong to tokens
  whose ratio is 1 up to rounding;
- `switch_shuffled`: the same after the objective was given the tokens in random order. What a
  filter makes smooth is smooth in any order; only the difference to this is structure in the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kpo.objective import Objective, TokenBatch, token_log_ratio

NOISE = ("noise_rms", "noise_max", "noise_clip_fraction")
"""Of log-ratios where no weight has moved, in nats, and the share of tokens clipped for it."""
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
LARGE = 1e-4


@dataclass
class RatioStatistics:
    """Collects the tokens of a step; `seed` orders the shuffle control."""

    seed: int = 0
    tokens: dict[str, list[Tensor]] = field(default_factory=lambda: {"raw": [], "used": []})
    switches: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def add(self, batch: TokenBatch, log_ratio: Tensor, objective: Objective) -> None:
        """Add a micro-batch with the log-ratio [B, T] that the objective used."""
        mask = batch.mask.bool()
        z = token_log_ratio(batch).detach()
        for name, values in (("raw", z), ("used", log_ratio)):
            self.tokens[name].append(values[mask].cpu())
            self._count(f"switch_{name}", direction_switches(values, mask))
            self._count(f"switch_large_{name}", direction_switches(values, mask, LARGE))
        control = objective(self._shuffle(batch)).log_ratio
        self._count("switch_shuffled_used", direction_switches(control, mask))

    def merge(self, other: RatioStatistics) -> None:
        """Add what another rank collected."""
        for name, parts in other.tokens.items():
            self.tokens[name] += parts
        for name, pair in other.switches.items():
            self._count(name, pair)

    def summary(self) -> dict[str, float]:
        """All statistics of the step, flat."""
        result = {}
        for name, parts in self.tokens.items():
            values = torch.cat(parts).double().numpy()
            quantiles = np.exp(np.quantile(values, QUANTILES))
            for level, value in zip(QUANTILES, quantiles.tolist(), strict=True):
                result[f"ratio_{name}_q{round(100 * level):02d}"] = value
            result[f"ess_{name}"] = effective_share(values)
        z = torch.cat(self.tokens["raw"]).double()
        result["kl_old"] = float((z.exp() - 1 - z).mean())  # estimates KL(pi_old || pi), >= 0
        for name, (switched, pairs) in self.switches.items():
            result[name] = float(switched / pairs.clamp(min=1))
        return result

    def _count(self, name: str, pair: Tensor) -> None:
        self.switches[name] = self.switches.get(name, 0) + pair.cpu()

    def _shuffle(self, batch: TokenBatch) -> TokenBatch:
        """The same responses with their tokens in random order."""
        mask = batch.mask.bool()
        generator = torch.Generator().manual_seed(self.seed)
        keys = torch.rand(mask.shape, generator=generator).to(mask.device)
        order = keys.masked_fill(~mask, 2.0).argsort(1)  # real tokens first: right padding stays
        in_place = batch.logprobs.detach(), batch.old_logprobs, mask
        logprobs, old_logprobs, mask = (tensor.gather(1, order) for tensor in in_place)
        return TokenBatch(logprobs, old_logprobs, batch.advantages, mask)


def effective_share(log_ratios: npt.NDArray[np.float64]) -> float:
    """Effective sample size of ratios as a share of their number; in range whatever their size."""
    weights = np.exp(log_ratios - log_ratios.max())
    return float(weights.mean() ** 2 / (weights**2).mean())


def direction_switches(values: Tensor, mask: Tensor, threshold: float = 0.0) -> Tensor:
    """Adjacent unmasked tokens with opposite signs, and all adjacent pairs: [2] float64.

    Only pairs whose values [B, T] both exceed `threshold` in size count.
    """
    left, right = values[:, :-1], values[:, 1:]
    pairs = mask[:, :-1] & mask[:, 1:] & (left.abs() > threshold) & (right.abs() > threshold)
    switched = pairs & (left * right < 0)
    return torch.stack([switched.sum(), pairs.sum()]).double()
