"""A stand-in for flash attention's variable-length kernel that refuses what the real one refuses.

Its checks are those of `mha_varlen_fwd` and of `torch.nn.attention.varlen`; its arithmetic is plain
attention, sequence by sequence in float32, rounded to the dtype of its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from kpo.model import packing

HALF = (torch.bfloat16, torch.float16)


@dataclass
class Kernel:
    """Counts its calls, forward passes that are computed again included."""

    calls: int = 0

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Tensor:
        self.calls += 1
        check(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k)
        assert enable_gqa == (query.shape[1] != key.shape[1])
        left, right = window_size
        assert right == 0  # causal
        assert left >= -1  # -1: no window
        bounds = cu_seq_q.tolist()
        outputs = [one(query[i:j], key[i:j], value[i:j], scale, left) for i, j in pairwise(bounds)]
        return torch.cat(outputs)


def check(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor, max_q: int, max_k: int
) -> None:
    """The real kernel's conditions, the device aside."""
    assert q.dtype in HALF, "only fp16 and bf16"
    assert q.dtype == k.dtype == v.dtype, "one dtype"
    for part in (q, k, v):
        assert part.ndim == 3, "[tokens, heads, size]"
        assert part.stride(-1) == 1, "contiguous last dimension"
        assert part.device == starts_q.device == starts_k.device, "one device"
    total, heads, size = q.shape
    assert k.shape == v.shape
    assert (k.shape[0], k.shape[2]) == (total, size), "heads of one size, tokens of one count"
    assert heads % k.shape[1] == 0, "heads of keys divide heads of queries"
    assert size % 8 == 0, "a multiple of 8"
    assert size <= 256
    for starts, longest in ((starts_q, max_q), (starts_k, max_k)):
        assert type(longest) is int
        assert starts.dtype == torch.int32, "int32"
        assert starts.is_contiguous()
        assert starts.ndim == 1
        assert len(starts) >= 2, "at least one sequence"
        # What the real one reads beyond its memory for, without a check.
        lengths = starts.diff()
        assert int(starts[0]) == 0
        assert int(starts[-1]) == total
        assert int(lengths.min()) > 0
        assert int(lengths.max()) == longest


def one(q: Tensor, k: Tensor, v: Tensor, scale: float | None, left: int) -> Tensor:
    """Causal attention of one sequence, [L, heads, D], with a window of `left` tokens before."""
    shared = q.shape[1] // k.shape[1]
    keys, values = (x.float().repeat_interleave(shared, 1).transpose(0, 1) for x in (k, v))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = scale * q.float().transpose(0, 1) @ keys.transpose(1, 2)
    seen = torch.ones(len(q), len(q), dtype=torch.bool).tril()
    if left >= 0:
        seen = seen.triu(-left)
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return (weights @ values).transpose(0, 1).to(q.dtype)


@contextmanager
def flash_on_the_cpu() -> Iterator[Kernel]:
    """Packed attention takes the way it takes on CUDA, to the stand-in."""
    kernel = Kernel()
    real = packing.has_kernel

    def has_kernel(query: Tensor, *others: Any) -> bool:
        """As if the tensor were on CUDA."""
        on_cuda = mock.Mock(is_cuda=True, dtype=query.dtype, shape=query.shape)
        return real(on_cuda, *others)

    with (
        mock.patch.object(packing, "has_kernel", has_kernel),
        mock.patch("torch.nn.attention.varlen.varlen_attn", kernel),
    ):
        yield kernel
