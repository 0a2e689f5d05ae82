"""Causal Kalman filter of token log-ratios (arXiv 2602.10609, the filter equations).

A response's log-ratios z_t are noisy observations of a slowly moving latent state x_t:

    x_t = x_{t-1} + w_t,  w_t ~ N(0, Q)        z_t = x_t + e_t,  e_t ~ N(0, V)

with x_0 = 0, P_0 = 0. Only q = Q / V matters. With P_t = V K_t the recursion is

    K_t = (K_{t-1} + q) / (K_{t-1} + q + 1),   K_0 = 0
    x_t = x_{t-1} + K_t (z_t - x_{t-1})

`kalman_filter_reference` is this recursion, token by token; `kalman_filter` is the same map, fast.

The equations are the paper's; masked tokens are defined as absent.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from kpo.memory import Direction, Start, check_q, steady_gain


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


def kalman_gains(length: int, q: float, start: Start = "known") -> Tensor:
    """Gains K_1 .. K_length of the recursion, float64 [length], on the CPU.

    Raises ValueError for a negative length or a q that is not finite and positive.
    """
    check_q(q)
    if length < 0:
        raise ValueError(f"length must be at least 0, got {length}")
    gains = [steady_gain(q) if start == "steady" else 0.0]  # K_0
    for t in range(length):
        K = gains[-1]
        gains.append(1.0 if start == "diffuse" and t == 0 else (K + q) / (K + q + 1.0))
    return torch.tensor(gains[1:], dtype=torch.float64)


@torch.no_grad()
def kalman_filter(
    log_ratio: Tensor,
    mask: Tensor,
    *,
    q: float,
    start: Start = "known",
    direction: Direction = "causal",
) -> Tensor:
    """Filtered log-ratios x_t, detached.

    Args:
        log_ratio: z [B, T] in nats; float32 or float64 (bf16 and half come out as float32).
        mask: [B, T], nonzero where a token is an observation. Other tokens move neither the state
            nor the gain's index, wherever they stand, may hold anything, and their output is 0.
        q: Q / V > 0, dimensionless.
        start: what is known of x_0, see `Start`.
        direction: what x_t is an estimate from, see `Direction`.

    Returns: x [B, T]. Raises ValueError for a bad q or shapes that differ.
    """
    z, mask = _checked(log_ratio, mask)
    if direction == "causal" and _all(mask[:, 1:] <= mask[:, :-1]):  # nothing to move
        return _filter_dense(z, q, start).masked_fill_(~mask, 0)
    order = _order(mask, direction)
    x = _filter_dense(z.gather(1, order), q, start)
    if direction == "two_sided" and x.numel():
        x = _smooth_dense(x, mask.sum(1), q, start)
    return torch.zeros_like(x).scatter_(1, order, x).masked_fill_(~mask, 0)


@torch.no_grad()
def saturated_filter(
    log_ratio: Tensor,
    mask: Tensor,
    *,
    q: float,
    saturate: float,
    start: Start = "known",
    direction: Direction = "causal",
) -> tuple[Tensor, Tensor]:
    """`kalman_filter` with innovations z_t - x_{t-1} bounded to `saturate` standard deviations.

    A standard deviation is sqrt(P_{t-1} + Q + V) with V = 1, that is 1 / sqrt(1 - K_t) nats. Not
    for two_sided. The recursion goes token by token only where an innovation is out of bounds.

    Returns: x [B, T], and where it was bounded [B, T].
    """
    z, mask = _checked(log_ratio, mask)
    order = _order(mask, direction)
    moved, seen = z.gather(1, order), mask.gather(1, order)
    gains = kalman_gains(z.shape[1], q, start).to(z.device)
    bounds = saturate / (1 - gains).sqrt()
    x = _filter_dense(moved, q, start)
    beyond = seen & ((moved - pad(x, (1, 0))[:, :-1]).abs() > bounds)
    if bool(beyond.any()):
        state = moved.new_zeros(len(moved), dtype=torch.float64)
        for t, (K, bound) in enumerate(zip(gains, bounds, strict=True)):
            innovation = moved[:, t] - state
            beyond[:, t] = seen[:, t] & (innovation.abs() > bound)
            state = state + K * innovation.clamp(-bound, bound)
            x[:, t] = state
    back = torch.zeros_like(x).scatter_(1, order, x).masked_fill_(~mask, 0)
    return back, torch.zeros_like(mask).scatter_(1, order, beyond)


def _checked(log_ratio: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """z of float32 or float64, 0 where masked, and the mask as bool."""
    if log_ratio.ndim != 2 or log_ratio.shape != mask.shape:
        raise ValueError(
            f"log_ratio and mask must both be [B, T], got {list(log_ratio.shape)} and"
            f" {list(mask.shape)}"
        )
    z = log_ratio if log_ratio.dtype == torch.float64 else log_ratio.float()
    mask = mask.bool()
    return z if _all(mask) else z.masked_fill(~mask, 0), mask


def _order(mask: Tensor, direction: Direction) -> Tensor:
    """Columns [B, T] in the order in which a direction takes the tokens, masked ones last."""
    position = mask.cumsum(1) - 1
    if direction == "anticausal":
        keys = -position.double()
    elif direction == "shuffled":  # the same for responses of one length, whatever is beside them
        from numpy.random import default_rng  # noqa: PLC0415 - nothing else here needs numpy

        keys = torch.from_numpy(default_rng(0).random(mask.shape[1])).to(mask.device)
        keys = keys[position.clamp(min=0)]
    else:
        keys = position.double()
    return keys.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)


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


def _filter_dense(z: Tensor, q: float, start: Start) -> Tensor:
    """Filter z [B, T] in which every token is an observation; returns z's dtype."""
    if z.numel() == 0:
        return z.clone()
    return _recursion(z, *_weights(_capacity(z), float(q), start, z.device))


def _smooth_dense(x: Tensor, lengths: Tensor, q: float, start: Start) -> Tensor:
    """E[x_t | z_1 .. z_T] [B, T] from the filtered x; the Rauch-Tung-Striebel recursion.

    y_t = x_t + C_t (y_{t+1} - x_t) with C_t = K_t / (K_t + q), back from y_T = x_T: the same kind
    of recursion on reversed tokens, its first gain being 1. What a response lacks in length is
    filled with its last state, which the recursion leaves where it is.
    """
    capacity = _capacity(x)
    places = torch.arange(capacity, device=x.device).expand(len(x), -1)
    filled = x.gather(1, places.minimum((lengths - 1).clamp(min=0)[:, None]))
    weights = _backward_weights(capacity, float(q), start, x.device)
    return _recursion(filled.flip(1), *weights).flip(1)[:, : x.shape[1]]


def _capacity(z: Tensor) -> int:
    """Tokens that weights are made for: few different numbers."""
    return max(_CHUNK, 1 << (z.shape[1] - 1).bit_length())


def _recursion(z: Tensor, inward: Tensor, outward: Tensor, carry: Tensor) -> Tensor:
    """x_t = x_{t-1} + K_t (z_t - x_{t-1}) [B, T] for the gains that the weights are made from."""
    batch, length = z.shape
    chunk = inward.shape[1]
    n = -(-length // chunk)
    x = z.new_empty(batch, n, chunk, dtype=torch.float64)  # everything below works in place
    tokens = x.view(batch, -1)[:, :length]
    tokens.copy_(z)  # what lies behind them reaches none of them
    x.mul_(inward[:n]).cumsum_(2)
    x[:, 1:] += (x[:, :-1, -1] @ carry[: n - 1, 1:n])[:, :, None]
    x.mul_(outward[:n])
    return tokens.to(z.dtype)


Weights = tuple[Tensor, Tensor, Tensor]
"""Of n chunks of C tokens, float64: inward K_i exp(L_e - L_i) [n, C], outward exp(L_t - L_e)
[n, C], carry exp(L_e - L_s) [n, n]."""


@lru_cache(maxsize=16)
def _weights(capacity: int, q: float, start: Start, device: torch.device) -> Weights:
    gains = kalman_gains(capacity, q, start)
    step = torch.log1p(pad(gains[:-1], (1, 0)) + q)  # log(K_{t-1} + q + 1); as x_0 = 0, K_0 is any
    return _chunked(gains, step, q, device)


@lru_cache(maxsize=16)
def _backward_weights(capacity: int, q: float, start: Start, device: torch.device) -> Weights:
    K = kalman_gains(capacity, q, start).flip(0)
    gains = q / (K + q)
    gains[0] = 1.0
    return _chunked(gains, torch.log1p(q / K), q, device)


def _chunked(gains: Tensor, step: Tensor, q: float, device: torch.device) -> Weights:
    """Weights of the recursion with these gains [T] and step = -log(1 - gains) [T]."""
    most = 1 + int(_LOG_RANGE / math.log1p(1 + q))  # as no step is larger
    chunk = min(max(_CHUNK, math.isqrt(len(gains))), most)
    gains, L = (pad(x, (0, -len(x) % chunk)) for x in (gains, -step))
    L = L.cumsum(0).view(-1, chunk)
    ends = L[:, -1:]
    inward = gains.view(-1, chunk) * (ends - L).exp()
    carry = (ends.T - ends).exp().triu(1)
    return inward.to(device), (L - ends).exp().to(device), carry.to(device)
