"""Causal Kalman filter of token log-ratios (arXiv 2602.10609, the filter equations).

A response's log-ratios z_t are noisy observations of a slowly moving latent state x_t:

    x_t = x_{t-1} + w_t,  w_t ~ N(0, Q)        z_t = x_t + e_t,  e_t ~ N(0, V)

with x_0 = 0, P_0 = 0. Only q = Q / V matters. With P_t = V K_t the recursion is

    K_t = (K_{t-1} + q) / (K_{t-1} + q + 1),   K_0 = 0
    x_t = x_{t-1} + K_t (z_t - x_{t-1})

`kalman_filter_reference` is this recursion, token by token; `kalman_filter` is the same map, fast.

Deviation from the paper: none in the equations; masked tokens are defined as absent.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from kpo.memory import check_q, steady_gain


@torch.no_grad()
def kalman_filter_reference(log_ratio: Tensor, mask: Tensor, *, q: float) -> Tensor:
    """The recursion as it stands above, x [B, T] in float64; slow, for tests and benchmarks."""
    check_q(q)
    out = torch.zeros_like(log_ratio, dtype=torch.float64)
    x = K = out.new_zeros(len(out))
    for t in range(out.shape[1]):
        z, observed = log_ratio[:, t].double(), mask[:, t].bool()
        K = torch.where(observed, (K + q) / (K + q + 1), K)
        x = torch.where(observed, x + K * (z - x), x)
        out[:, t] = torch.where(observed, x, 0.0)
    return out


def kalman_gains(length: int, q: float) -> Tensor:
    """Gains K_1 .. K_length of the recursion, float64 [length], on the CPU.

    Raises ValueError for a negative length or a q that is not finite and positive.
    """
    check_q(q)
    if length < 0:
        raise ValueError(f"length must be at least 0, got {length}")
    gains = [0.0]
    for _ in range(length):
        K = gains[-1]
        gains.append((K + q) / (K + q + 1.0))
    return torch.tensor(gains[1:], dtype=torch.float64)


@torch.no_grad()
def kalman_filter(log_ratio: Tensor, mask: Tensor, *, q: float) -> Tensor:
    """Filtered log-ratios x_t, detached.

    Args:
        log_ratio: z [B, T] in nats; float32 or float64 (bf16 and half come out as float32).
        mask: [B, T], nonzero where a token is an observation. Other tokens move neither the state
            nor the gain's index, wherever they stand, may hold anything, and their output is 0.
        q: Q / V > 0, dimensionless.

    Returns: x [B, T]. Raises ValueError for a bad q or shapes that differ.
    """
    check_q(q)
    if log_ratio.ndim != 2 or log_ratio.shape != mask.shape:
        raise ValueError(
            f"log_ratio and mask must both be [B, T], got {list(log_ratio.shape)} and"
            f" {list(mask.shape)}"
        )
    z = log_ratio if log_ratio.dtype == torch.float64 else log_ratio.float()
    if z.numel() == 0:
        return torch.zeros_like(z)
    mask = mask.bool()
    if _all(mask):
        return _filter_dense(z, float(q))
    z = z.masked_fill(~mask, 0)
    if _all(mask[:, 1:] <= mask[:, :-1]):  # padding on the right only: nothing to move
        return _filter_dense(z, float(q)).masked_fill_(~mask, 0)
    position = (mask.cumsum(1) - 1).clamp_(min=0)
    packed = torch.zeros_like(z).scatter_add_(1, position, z)
    return _filter_dense(packed, float(q)).gather(1, position).masked_fill_(~mask, 0)


def _all(mask: Tensor) -> bool:
    """mask.all() of a bool tensor; as a minimum of bytes it takes a thirtieth of the time."""
    return mask.numel() == 0 or bool(mask.view(torch.uint8).min())


# The fast form. Gains depend on the position alone, so the filter is a fixed lower-triangular map
#
#     x_t = sum_{i <= t} K_i exp(L_t - L_i) z_i,   L_t = sum_{j <= t} log(1 - K_j) <= 0
#
# which is applied in chunks, in float64. In the chunk that ends at token e, with c_s the whole sum
# of each chunk before it, which ends at s,
#
#     x_t = exp(L_t - L_e) (cumsum_i K_i exp(L_e - L_i) z_i + sum_s exp(L_e - L_s) c_s)
#
# The weights inside the sums are at most 1, so they cannot overflow, and chunks are short enough
# for exp(L_t - L_e) to stay in range.

_CHUNK = 64
"""Tokens per chunk; of more than 4096 tokens the root of their number, so that chunks stay few."""

_LOG_RANGE = 350.0
"""Largest |L_t - L_e| inside a chunk: half of float64's range, the rest is for the data."""


def _filter_dense(z: Tensor, q: float) -> Tensor:
    """Filter z [B, T] in which every token is an observation; returns z's dtype."""
    batch, length = z.shape
    capacity = max(_CHUNK, 1 << (length - 1).bit_length())
    inward, outward, carry = _weights(capacity, q, z.device)
    chunk = inward.shape[1]
    n = -(-length // chunk)
    x = z.new_empty(batch, n, chunk, dtype=torch.float64)  # everything below works in place
    tokens = x.view(batch, -1)[:, :length]
    tokens.copy_(z)  # what lies behind them reaches none of them
    x.mul_(inward[:n]).cumsum_(2)
    x[:, 1:] += (x[:, :-1, -1] @ carry[: n - 1, 1:n])[:, :, None]
    x.mul_(outward[:n])
    return tokens.to(z.dtype)


@lru_cache(maxsize=16)
def _weights(capacity: int, q: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of n chunks of C tokens, at least `capacity` in all, float64.

    Inward K_i exp(L_e - L_i) [n, C], outward exp(L_t - L_e) [n, C], carry exp(L_e - L_s) [n, n].
    """
    most = 1 + int(_LOG_RANGE / math.log1p(steady_gain(q) + q))
    chunk = min(max(_CHUNK, math.isqrt(capacity)), most)
    gains = kalman_gains(capacity + -capacity % chunk, q)
    step = torch.log1p(pad(gains[:-1], (1, 0)) + q)  # -log(1 - K_t) = log(K_{t-1} + q + 1)
    L = -step.cumsum(0).view(-1, chunk)
    ends = L[:, -1:]
    inward = gains.view(-1, chunk) * (ends - L).exp()
    carry = (ends.T - ends).exp().triu(1)
    return inward.to(device), (L - ends).exp().to(device), carry.to(device)
