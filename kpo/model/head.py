"""Log-probs of single tokens straight from the LM head, without the logits of all tokens at once.

log pi(y | h) = l_y - logsumexp(l), with logits l = W h, which some models scale or cap. The product
with W [V, H] is made for a chunk of tokens at a time and thrown away; backward makes it again.
Memory is that of one chunk, whatever the number of tokens, for a fourth matrix product beside the
three that cannot be avoided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

CHUNK_LOGITS = 1 << 26
"""Logits in memory at once: 256 MiB in float32."""
CPU_ROWS = 4096
"""Rows of W that are widened at once on the CPU."""


@dataclass(frozen=True)
class LogitRule:
    """How logits follow from u = W h with scale s and cap c: c tanh(s u / c), or s u without c."""

    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, config: Any) -> Self:
        """That of a model's configuration in transformers."""
        scale = getattr(config, "logit_scale", None) or 1.0
        scale /= getattr(config, "logits_scaling", None) or 1.0
        return cls(scale, getattr(config, "final_logit_softcapping", None) or None)

    def apply_(self, product: Tensor) -> Tensor:
        """Logits in the product's place."""
        if self.scale != 1:
            product.mul_(self.scale)
        if self.cap is not None:
            product.div_(self.cap).tanh_().mul_(self.cap)
        return product

    def slope(self, logits: Tensor) -> Tensor | float:
        """d logits / d product."""
        if self.cap is None:
            return self.scale
        return (logits / self.cap).square_().neg_().add_(1).mul_(self.scale)


PLAIN = LogitRule()


def token_logprobs(
    hidden: Tensor, weight: Tensor, targets: Tensor, rule: LogitRule = PLAIN
) -> Tensor:
    """log softmax(logits)_y of M tokens [M] in nats, with gradient to h [M, H] and W [V, H].

    h has the dtype of W, the result at least float32; the targets y [M] are int64.
    """
    logprobs: Tensor = _TokenLogprobs.apply(hidden, weight, targets, rule)
    return logprobs


@torch.no_grad()
def token_logprobs_and_entropies(
    hidden: Tensor, weight: Tensor, targets: Tensor, rule: LogitRule = PLAIN
) -> tuple[Tensor, Tensor]:
    """The same without gradient, and the entropy [M] of each token's distribution, in nats."""
    logprobs, entropies = [], []
    for rows, logits in _logits(hidden, weight, rule):
        picked = logits.gather(1, targets[rows, None]).squeeze(1)
        highest = logits.amax(1)
        logits.sub_(highest[:, None])
        weights = logits.exp()
        total = weights.sum(1)
        normaliser = highest + total.log()
        logprobs.append(picked - normaliser)
        entropies.append(total.log() - weights.mul_(logits).sum(1) / total)
    return torch.cat(logprobs), torch.cat(entropies)


def chunks(tokens: int, vocabulary: int) -> list[slice]:
    """Slices of the tokens, of at most CHUNK_LOGITS logits each."""
    size = max(1, CHUNK_LOGITS // vocabulary)
    return [slice(start, start + size) for start in range(0, tokens, size)]


def _logits(hidden: Tensor, weight: Tensor, rule: LogitRule) -> Iterator[tuple[slice, Tensor]]:
    """Chunk by chunk, the rows and their logits, at least float32, in one buffer that is reused.

    A buffer, because on the CPU the first touch of fresh memory takes as long as the product.
    """
    wide = torch.promote_types(hidden.dtype, torch.float32)
    parts = chunks(len(hidden), len(weight))
    buffer = hidden.new_empty(len(hidden[parts[0]]), len(weight), dtype=wide)
    for rows in parts:
        h = hidden[rows]
        logits = buffer[: len(h)]
        _product_(logits, h, weight)
        yield rows, rule.apply_(logits)


def _product_(out: Tensor, h: Tensor, weight: Tensor) -> None:
    """W h in place, at least float32: in half precision the sums are not rounded to half again."""
    if out.dtype == weight.dtype:
        torch.mm(h, weight.t(), out=out)
    elif h.device.type != "cpu":
        torch.mm(h, weight.t(), out_dtype=out.dtype, out=out)
    else:  # whose products have the dtype of their factors
        wide = h.to(out.dtype)
        for start in range(0, len(weight), CPU_ROWS):
            rows = slice(start, start + CPU_ROWS)
            out[:, rows] = wide @ weight[rows].to(out.dtype).t()


class _TokenLogprobs(torch.autograd.Function):
    """d log p_y / d logits = onehot(y) - p, times the slope of the logits in W h."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rule: LogitRule
    ) -> Tensor:
        logprobs, normalisers = [], []
        for rows, logits in _logits(hidden, weight, rule):
            picked = logits.gather(1, targets[rows, None]).squeeze(1)
            highest = logits.amax(1)
            normaliser = highest + logits.sub_(highest[:, None]).exp_().sum(1).log()
            normalisers.append(normaliser)
            logprobs.append(picked - normaliser)
        ctx.rule = rule
        ctx.save_for_backward(hidden, weight, targets, torch.cat(normalisers))
        return torch.cat(logprobs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden, weight, targets, normalisers = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=normalisers.dtype)
        for rows, logits in _logits(hidden, weight, ctx.rule):
            g = grads[0][rows, None]
            slope = None if ctx.rule == PLAIN else ctx.rule.slope(logits)
            logits.sub_(normalisers[rows, None]).exp_().mul_(-g)
            logits.scatter_add_(1, targets[rows, None], g)
            d_product = (logits if slope is None else logits.mul_(slope)).to(weight.dtype)
            torch.mm(d_product, weight, out=d_hidden[rows])
            if d_weight.dtype == weight.dtype:
                d_weight.addmm_(d_product.t(), hidden[rows])
            else:
                d_weight.add_(d_product.t() @ hidden[rows])
        return d_hidden, d_weight.to(weight.dtype), None, None
