"""Objectives as users may add them: means over tokens, and over a constant length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kpo.objective import MeanOver, ObjectiveOutput, TokenBatch, token_log_ratio


@dataclass(frozen=True, kw_only=True)
class TokenMean:
    """1 / (all tokens) sum_i A_i sum_t r_{i,t}."""

    mean_over: ClassVar[MeanOver] = "tokens"

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        mask, z = batch.mask.bool(), token_log_ratio(batch)
        gains = (z.exp() * batch.advantages[:, None])[mask]
        far = (z[mask].detach().abs() > 0.05).sum(), mask.sum()
        return ObjectiveOutput(-gains.sum(), mask.sum(), {"clip_fraction": far}, z.detach())


@dataclass(frozen=True, kw_only=True)
class ConstantLength(TokenMean):
    """1 / (length x responses) sum_i A_i sum_t r_{i,t}."""

    mean_over: MeanOver = 16  # type: ignore[misc]  # a setting here

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        output = super().__call__(batch)
        assert isinstance(self.mean_over, int)
        count = batch.mask.any(1).sum() * self.mean_over
        return ObjectiveOutput(output.loss, count, output.metrics, output.log_ratio)


MEANS = {"token-mean": TokenMean(), "constant-length": ConstantLength()}
