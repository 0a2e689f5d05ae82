"""Log-probs of single tokens straight from the LM head, without the logits of all tokens at once.

log pi(y | h) = W_y h - logsumexp(W h). The product with W [V, H] is made for a chunk of tokens at a
time and thrown away; backward makes it again. Memory is that of one chunk, whatever the number of
tokens, for a fourth matrix product beside the three that cannot be avoided.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_LOGITS = 1 << 24
"""Logits in memory at once: 64 MiB in float32."""


def token_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """log softmax(W h)_y of M tokens, with gradient to h and W.

    Args:
        hidden: h [M, H], of the dtype of the weight.
        weight: W [V, H].
        targets: y [M] int64.

    Returns: [M] in nats, float32 (float64 for float64).
    """
    logprobs: Tensor = _TokenLogprobs.apply(hidden, weight, targets)
    return logprobs


@torch.no_grad()
def token_logprobs_and_entropies(
    hidden: Tensor, weight: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """The same without gradient, and the entropy [M] of each token's distribution, in nats."""
    logprobs, entropies = [], []
    for rows in chunks(len(hidden), len(weight)):
        logits = _wide(hidden[rows] @ weight.t())
        logits = logits - logits.logsumexp(1, keepdim=True)
        logprobs.append(logits.gather(1, targets[rows, None]).squeeze(1))
        entropies.append(-(logits.exp() * logits).sum(1))
    return torch.cat(logprobs), torch.cat(entropies)


def chunks(tokens: int, vocabulary: int) -> list[slice]:
    """Slices of the tokens, of at most CHUNK_LOGITS logits each."""
    size = max(1, CHUNK_LOGITS // vocabulary)
    return [slice(start, start + size) for start in range(0, tokens, size)]


class _TokenLogprobs(torch.autograd.Function):
    """d log p_y / d logits = onehot(y) - p."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        logprobs, normalisers = [], []
        for rows in chunks(len(hidden), len(weight)):
            logits = _wide(hidden[rows] @ weight.t())
            normaliser = logits.logsumexp(1)
            normalisers.append(normaliser)
            logprobs.append(logits.gather(1, targets[rows, None]).squeeze(1) - normaliser)
        ctx.save_for_backward(hidden, weight, targets, torch.cat(normalisers))
        return torch.cat(logprobs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, targets, normalisers = ctx.saved_tensors
        wide = normalisers.dtype
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=wide)
        for rows in chunks(len(hidden), len(weight)):
            h, g = hidden[rows], grads[0][rows, None]
            d_logits = _wide(h @ weight.t()).sub_(normalisers[rows, None]).exp_().mul_(-g)
            d_logits.scatter_add_(1, targets[rows, None], g)
            narrow = d_logits.to(weight.dtype)
            torch.mm(narrow, weight, out=d_hidden[rows])
            d_weight.addmm_(narrow.t(), h) if wide == weight.dtype else d_weight.add_(
                narrow.t() @ h
            )
        return d_hidden, d_weight.to(weight.dtype), None


def _wide(logits: Tensor) -> Tensor:
    """At least float32, where sums over a vocabulary are made."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
