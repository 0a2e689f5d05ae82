"""Causal Kalman filter of token log-ratios (arXiv 2602.10609, the filter equations).

A response's log-ratios z_t are noisy observations of a slowly moving latent state x_t:

    x_t = x_{t-1} + w_t,  w_t ~ N(0, Q)        z_t = x_t + e_t,  e_t ~ N(0, V)

with x_0 = 0, P_0 = 0. Only q = Q / V matters. With P_t = V K_t the recursion is

    K_t = (K_{t-1} + q) / (K_{t-1} + q + 1),   K_0 = 0
    x_t = x_{t-1} + K_t (z_t - x_{t-1})

`kalman_filter_reference` is this recursion, token by token; `kalman_filter` is what it comes to, in
a form that is fast.

Deviation from the paper: none in the equations; masked tokens are defined as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from kpo.memory import check_q


def kalman_gains(length: int, q: float) -> Tensor:
    """Gains K_1 .. K_length of the recursion, float64 [length], on the CPU.

    Raises ValueError for a negative length or a q that is not finite and positive.
    """
    check_q(q)
    if length < 0:
        raise ValueError(f"length must be at least 0, got {length}")
    gains, K = [], 0.0
    for _ in range(length):
        K = (K + q) / (K + q + 1.0)
        gains.append(K)
    return torch.tensor(gains, dtype=torch.float64)


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
    if log_ratio.dtype not in (torch.float32, torch.float64):
        log_ratio = log_ratio.float()
    if log_ratio.numel() == 0:
        return torch.zeros_like(log_ratio)
    mask = mask.bool()
    if _all(mask):
        return _filter_dense(log_ratio, float(q))
    z = log_ratio.masked_fill(~mask, 0)
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
# which is applied in chunks, in float64. Inside a chunk ending at token e,
#
#     x_t = exp(L_t - L_e) (cumsum_i K_i exp(L_e - L_i) z_i + exp(L_e - L_s) x_s)
#
# where s is the last token of the chunk before. The weights inside the sum are at most 1, so it
# cannot overflow, and chunks are short enough for exp(L_t - L_e) to stay in range. The states x_s
# obey a recurrence of the same kind, solved by triangular matrices of decays exp(L_e - L_s) <= 1.

_CHUNK = 64
"""Tokens per chunk, and chunks per triangular matrix of the levels above."""

_LOG_RANGE = 350.0
"""Largest |L_t - L_e| inside a chunk: half of float64's range, the rest is for the data."""


def _filter_dense(z: Tensor, q: float) -> Tensor:
    """Filter z [B, T] in which every token is an observation; returns z's dtype."""
    batch, length = z.shape
    capacity = max(_CHUNK, 1 << (length - 1).bit_length())
    weights = _weights(capacity, q, z.device)
    n = -(-length // weights.chunk)
    size = n * weights.chunk
    x = z.to(torch.float64, copy=True)  # everything below works in place
    if size > length:
        x = torch.nn.functional.pad(x, (0, size - length))
    x.mul_(weights.inward[:size])
    chunks = x.view(batch, n, weights.chunk).cumsum_(2)
    if n > 1:
        ends = _end_states(chunks[:, :-1, -1], weights.levels)
        chunks[:, 1:].add_((ends * weights.decay[1:n]).unsqueeze(2))
    return x.mul_(weights.outward[:size])[:, :length].to(z.dtype)


@dataclass(frozen=True)
class _Weights:
    """Everything about q and the positions, float64, for n chunks of C tokens."""

    chunk: int
    inward: Tensor  # [n C]  K_i exp(L_e - L_i)
    outward: Tensor  # [n C]  exp(L_t - L_e)
    decay: Tensor  # [n]    exp(L_e - L_s), over a whole chunk
    levels: list[tuple[Tensor, Tensor]]  # decays between chunk ends, see _end_levels


@lru_cache(maxsize=16)
def _weights(capacity: int, q: float, device: torch.device) -> _Weights:
    gains = kalman_gains(capacity, q)
    previous = torch.cat([gains.new_zeros(1), gains[:-1]])
    step = torch.log1p(previous + q)  # -log(1 - K_t), as 1 - K_t = 1 / (K_{t-1} + q + 1)
    chunk = min(_CHUNK, 1 + int(_LOG_RANGE / float(step.max())))
    step = torch.nn.functional.pad(step, (0, -capacity % chunk))
    gains = torch.nn.functional.pad(gains, (0, -capacity % chunk))
    L = -step.cumsum(0).view(-1, chunk)
    ends = L[:, -1]
    return _Weights(
        chunk=chunk,
        inward=(gains * (ends[:, None] - L).exp().flatten()).to(device),
        outward=(L - ends[:, None]).exp().flatten().to(device),
        decay=torch.cat([ends[:1], ends.diff()]).exp().to(device),
        levels=[(blocks.to(device), carry.to(device)) for blocks, carry in _end_levels(ends)],
    )


def _end_levels(L: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Decays between chunk ends with log-decays L [n], grouped again and again until one is left.

    A level is (blocks [m, C, C], carry [m, C]): blocks[g, i, t] = exp(L_t - L_i) for i <= t inside
    group g, carry[g, t] = exp(L_t - L_s) from the end s of the group before.
    """
    levels = []
    while True:
        L = torch.cat([L, L[-1:].expand(-len(L) % _CHUNK)]).view(-1, _CHUNK)
        blocks = (L[:, None, :] - L[:, :, None]).clamp(max=0).exp().triu()
        before = torch.cat([L.new_zeros(1), L[:-1, -1]])
        levels.append((blocks, (L - before[:, None]).exp()))
        if len(L) == 1:
            return levels
        L = L[:, -1]


def _end_states(sums: Tensor, levels: list[tuple[Tensor, Tensor]]) -> Tensor:
    """States at the chunks' ends [B, n] from what each chunk alone adds, sums [B, n]."""
    (blocks, carry), *above = levels
    batch, n = sums.shape
    if n <= _CHUNK:
        return sums @ blocks[0, :n, :n]
    groups = torch.nn.functional.pad(sums, (0, -n % _CHUNK)).view(batch, -1, _CHUNK)
    m = groups.shape[1]
    states = torch.bmm(groups.transpose(0, 1), blocks[:m]).transpose(0, 1).contiguous()
    ends = _end_states(states[:, :, -1], above)
    states[:, 1:] += carry[1:m] * ends[:, :-1, None]
    return states.view(batch, -1)[:, :n]
