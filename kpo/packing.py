"""Sequences without padding: several, one after the other, in one row of the transformer.

A micro-batch of B (prompt, response) pairs becomes one row of N tokens. Everything in the
transformer but attention works on single tokens; attention stays inside each sequence
(`attention`, under the name ATTENTION in transformers' registry of attention functions). Log-probs
go back to one row a response, [B, T], so that no objective and no filter crosses a response.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ATTENTION = "kpo_packed"
BUCKET_SLACK = 1.125
"""Sequences share a padded attention call while the longest is at most this times the shortest."""


@dataclass(frozen=True)
class Packed:
    """B sequences x y (without the last token of y) in one row; M response tokens in all.

    Attributes:
        ids, positions: [1, N] tokens and their places in their sequences.
        starts: [B + 1] int32 where each sequence begins; the last entry is N.
        longest: length of the longest sequence.
        buckets: index of tokens [S, L] for sequences alike in length; the places behind a
            sequence's end repeat its last token, which causal attention does not notice.
        restore: [N] place of each token in the buckets, laid one after the other.
        predicts: [M] place in the row whose next token is a response token.
        targets: [M] those response tokens.
        mask: [B, T] where the response tokens stand, row by row.
    """

    ids: Tensor
    positions: Tensor
    starts: Tensor
    longest: int
    buckets: tuple[Tensor, ...]
    restore: Tensor
    predicts: Tensor
    targets: Tensor
    mask: Tensor

    def align(self, values: Tensor) -> Tensor:
        """Values [M] of the response tokens as [B, T], 0 behind a response's end."""
        rows = values.new_zeros(self.mask.shape)
        return rows.masked_scatter(self.mask, values)


def pack(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], device: torch.device
) -> Packed:
    """Lay B pairs of token lists, each with at least one token, one after the other."""
    pairs = list(zip(prompts, responses, strict=True))
    rows = [torch.tensor([*x, *y[:-1]]) for x, y in pairs]
    lengths = torch.tensor([len(row) for row in rows])
    starts = F.pad(lengths.cumsum(0), (1, 0))
    buckets = [bucket_index(starts, lengths, rows) for rows in buckets_of(lengths.tolist())]
    restore = torch.empty(int(starts[-1]), dtype=torch.long)
    # Backwards, so that of the places that repeat a token the first, the real one, is kept.
    flat = torch.cat([bucket.flatten() for bucket in buckets])
    restore[flat.flip(0)] = torch.arange(len(flat)).flip(0)
    firsts = [int(start) + len(x) - 1 for start, (x, _) in zip(starts, pairs, strict=False)]
    counts = torch.tensor([len(y) for _, y in pairs])
    return Packed(
        ids=torch.cat(rows)[None].to(device),
        positions=torch.cat([torch.arange(n) for n in lengths.tolist()])[None].to(device),
        starts=starts.int().to(device),
        longest=int(lengths.max()),
        buckets=tuple(bucket.to(device) for bucket in buckets),
        restore=restore.to(device),
        predicts=torch.cat(
            [first + torch.arange(len(y)) for first, (_, y) in zip(firsts, pairs, strict=True)]
        ).to(device),
        targets=torch.cat([torch.tensor(y) for _, y in pairs]).to(device),
        mask=(torch.arange(int(counts.max()))[None] < counts[:, None]).to(device),
    )


def buckets_of(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Sequences by length, cut where the longest would outgrow the shortest by BUCKET_SLACK."""
    bucket: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if bucket and lengths[i] > BUCKET_SLACK * lengths[bucket[0]]:
            yield bucket
            bucket = []
        bucket.append(i)
    yield bucket


def bucket_index(starts: Tensor, lengths: Tensor, rows: list[int]) -> Tensor:
    """Places [S, L] in the row of the tokens of some sequences."""
    index = torch.tensor(rows)
    places = torch.arange(int(lengths[index].max()))[None]
    return starts[index, None] + places.minimum(lengths[index, None] - 1)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Packed | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each sequence of a packed row; without `packed`, plain attention.

    Query [1, H, N, D], key and value [1, K, N, D], K a divisor of H; returns [1, N, H, D]. On CUDA
    in half precision it is flash attention's variable-length kernel; elsewhere, one fused call for
    each bucket of sequences alike in length.
    """
    if packed is None:
        from transformers.integrations.sdpa_attention import (  # noqa: PLC0415 - slow to import
            sdpa_attention_forward,
        )

        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **settings
        )
        return output
    scale = settings["scaling"]
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))  # [N, heads, D]
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        return _varlen(q, k, v, packed, scale)[None], None
    parts = [_bucket(q, k, v, index, scale) for index in packed.buckets]
    return torch.cat(parts).index_select(0, packed.restore)[None], None


def _varlen(q: Tensor, k: Tensor, v: Tensor, packed: Packed, scale: float) -> Tensor:
    """Flash attention over [N, heads, D]."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - only where it is used

    output = varlen_attn(
        q,
        k,
        v,
        packed.starts,
        packed.starts,
        packed.longest,
        packed.longest,
        scale=scale,
        window_size=(-1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(output, Tensor)  # a pair only where normalisers are asked for
    return output


def _bucket(q: Tensor, k: Tensor, v: Tensor, index: Tensor, scale: float) -> Tensor:
    """Padded attention of the sequences at index [S, L]: [S L, H, D]."""
    flat = index.flatten()
    query, key, value = (
        part.index_select(0, flat).view(*index.shape, *part.shape[1:]).transpose(1, 2)
        for part in (q, k, v)
    )
    output = F.scaled_dot_product_attention(
        query,
        key,
        value,
        is_causal=True,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return output.transpose(1, 2).flatten(0, 1)


def register() -> None:
    """Make ATTENTION known to transformers, with its usual masks where a row is not packed."""
    from transformers import AttentionInterface, AttentionMaskInterface  # noqa: PLC0415
    from transformers.masking_utils import sdpa_mask  # noqa: PLC0415

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
