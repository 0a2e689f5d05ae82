"""Sequences without padding: several, one after the other, in one row of the transformer.

A micro-batch of B (prompt, response) pairs becomes one row of N tokens in which a prompt that
several responses share stands once. Everything in the transformer but attention works on single
tokens; attention (`attention`, under the name ATTENTION in transformers' registry) gathers each
sequence from the row and stays inside it. Log-probs go back to one row a response, [B, T], so that
no objective and no filter crosses a response.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

ATTENTION = "kpo_packed"
BUCKET_SLACK = 1.125
"""Sequences share a padded attention call while the longest is at most this times the shortest."""


@dataclass(frozen=True)
class Gathered:
    """B sequences as attention wants them, gathered from a row of N tokens.

    Attributes:
        index: [F] place in the row of each gathered token.
        restore: [N] place among the gathered of (one copy of) each token of the row.
        shapes: of the padded buckets (sequences, length) that the gathered tokens form; the places
            behind a sequence's end repeat its last token, which causal attention does not notice.
        starts: [B + 1] int32, where each sequence begins among gathered tokens without padding.
        longest: length of the longest sequence.
    """

    index: Tensor
    restore: Tensor
    shapes: tuple[tuple[int, int], ...]
    starts: Tensor
    longest: int


@dataclass(frozen=True)
class Packed:
    """B sequences x y (without the last token of y) in one row; M response tokens in all.

    Attributes:
        ids, positions: [1, N] tokens and their places in their sequences.
        sequences: B lists of places in the row.
        predicts: [M] place in the row whose next token is a response token.
        targets: [M] those response tokens.
        mask: [B, T] where the response tokens stand, row by row.
        grouped: whether padded attention may take fewer heads of keys than of queries. On CUDA it
            would then hold a square of scores for each head.
    """

    ids: Tensor
    positions: Tensor
    sequences: Sequence[Tensor]
    predicts: Tensor
    targets: Tensor
    mask: Tensor
    grouped: bool = True

    @cached_property
    def padded(self) -> Gathered:
        """The sequences in buckets alike in length."""
        return gather(self.sequences, list(buckets_of([len(s) for s in self.sequences])), self.ids)

    @cached_property
    def dense(self) -> Gathered:
        """The sequences without padding, for kernels that know where each begins."""
        return gather(self.sequences, [[i] for i in range(len(self.sequences))], self.ids)

    def align(self, values: Tensor) -> Tensor:
        """Values [M] of the response tokens as [B, T], 0 behind a response's end."""
        rows = values.new_zeros(self.mask.shape)
        return rows.masked_scatter(self.mask, values)


def pack(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], device: torch.device
) -> Packed:
    """Lay B pairs of token lists, each with at least one token, one after the other."""
    ids: list[int] = []
    positions: list[int] = []
    places: dict[tuple[int, ...], range] = {}  # of the prompts
    sequences, predicts = [], []
    for x, y in zip(prompts, responses, strict=True):
        if (prompt := tuple(x)) not in places:
            places[prompt] = range(len(ids), len(ids) + len(x))
            ids += x
            positions += range(len(x))
        own = range(len(ids), len(ids) + len(y) - 1)
        ids += y[:-1]
        positions += range(len(x), len(x) + len(y) - 1)
        sequences.append(torch.tensor([*places[prompt], *own]))
        predicts += [places[prompt][-1], *own]
    counts = torch.tensor([len(y) for y in responses])
    return Packed(
        ids=torch.tensor(ids, device=device)[None],
        positions=torch.tensor(positions, device=device)[None],
        sequences=sequences,
        predicts=torch.tensor(predicts, device=device),
        targets=torch.tensor([token for y in responses for token in y], device=device),
        mask=(torch.arange(int(counts.max()))[None] < counts[:, None]).to(device),
        grouped=device.type != "cuda",
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


def gather(sequences: Sequence[Tensor], buckets: Sequence[Sequence[int]], row: Tensor) -> Gathered:
    """Sequences of places in a row [1, N], bucket by bucket, each padded to its longest."""
    parts, shapes = [], []
    for bucket in buckets:
        longest = max(len(sequences[i]) for i in bucket)
        for i in bucket:
            last = sequences[i][-1:].expand(longest - len(sequences[i]))
            parts += [sequences[i], last]
        shapes.append((len(bucket), longest))
    index = torch.cat(parts)
    restore = torch.empty(row.shape[1], dtype=torch.long)
    # Backwards: of several copies, the first is kept, which is never a padding.
    restore[index.flip(0)] = torch.arange(len(index)).flip(0)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return Gathered(
        index=index.to(row.device),
        restore=restore.to(row.device),
        shapes=tuple(shapes),
        starts=F.pad(lengths.cumsum(0), (1, 0)).int().to(row.device),
        longest=int(lengths.max()),
    )


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Packed | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each sequence of a packed row; without `packed`, plain attention.

    Query [1, H, N, D], key and value [1, K, N, D], K a divisor of H; returns [1, N, H, D]. A token
    sees itself and the sliding_window - 1 tokens before it; scores s become c tanh(s / c) for a
    soft cap c. On CUDA in half precision it is flash attention's variable-length kernel; elsewhere,
    and with a soft cap, one call for each bucket of sequences alike in length.
    """
    if packed is None:
        return _unpacked(module, query, key, value, attention_mask, softcap=softcap, **settings)
    scores = Scores(settings.get("scaling"), sliding_window, softcap)
    kernel = has_kernel(query) and softcap is None and query.shape[-1] == value.shape[-1]
    if not (kernel or packed.grouped):
        key, value = _for_each_query(query, key), _for_each_query(query, value)
    layout = packed.dense if kernel else packed.padded
    q, k, v = (
        part[0].transpose(0, 1).index_select(0, layout.index) for part in (query, key, value)
    )  # [F, heads, D]
    gathered = (_by_kernel if kernel else _by_bucket)(q, k, v, layout, scores)
    return gathered.index_select(0, layout.restore)[None], None


def has_kernel(query: Tensor) -> bool:
    """Whether flash attention's variable-length kernel takes these heads [1, H, N, D]."""
    half = query.dtype in (torch.bfloat16, torch.float16)
    return query.is_cuda and half and query.shape[-1] <= 256 and query.shape[-1] % 8 == 0


@dataclass(frozen=True)
class Scores:
    """What becomes of the products of queries and keys: their scale, window and soft cap."""

    scale: float | None
    window: int | None = None
    cap: float | None = None


def _unpacked(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    softcap: float | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers has it, whose fused form would leave out a soft cap."""
    # In float32, CUDA has no kernel for grouped heads; with a mask, transformers repeats the keys.
    masked = softcap is not None or (query.is_cuda and query.dtype == torch.float32)
    if mask is None and masked and query.shape[2] > 1:
        mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    if softcap is not None:
        scores = Scores(settings["scaling"], cap=softcap)
        return _capped(query, key, value, mask, scores).transpose(1, 2), None
    from transformers.integrations import sdpa_attention  # noqa: PLC0415 - only where it is used

    output: tuple[Tensor, None] = sdpa_attention.sdpa_attention_forward(
        module, query, key, value, mask, **settings
    )
    return output


def _by_kernel(q: Tensor, k: Tensor, v: Tensor, layout: Gathered, scores: Scores) -> Tensor:
    """Flash attention's variable-length kernel over [F, heads, D] without padding."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - only where it is used

    output = varlen_attn(
        q,
        k,
        v,
        layout.starts,
        layout.starts,
        layout.longest,
        layout.longest,
        scale=scores.scale,
        window_size=(-1 if scores.window is None else scores.window - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(output, Tensor)  # a pair only where normalisers are asked for
    return output


def _by_bucket(q: Tensor, k: Tensor, v: Tensor, layout: Gathered, scores: Scores) -> Tensor:
    """Padded attention, a bucket at a time, over [F, heads, D]."""
    outputs = []
    sizes = [count * length for count, length in layout.shapes]
    for shape, *parts in zip(layout.shapes, *(x.split(sizes) for x in (q, k, v)), strict=True):
        query, key, value = (part.unflatten(0, shape).transpose(1, 2) for part in parts)
        outputs.append(_causal(query, key, value, scores).transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def _causal(query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
    """Attention of B sequences of one length, each with itself: [B, heads, L, D]."""
    length, mask = query.shape[2], None
    if scores.cap is not None or (scores.window is not None and scores.window < length):
        mask = query.new_ones(length, length, dtype=torch.bool).tril()
        if scores.window is not None:
            mask = mask.triu(1 - scores.window)
    if scores.cap is not None:
        return _capped(query, key, value, mask, scores)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scores.scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scores: Scores
) -> Tensor:
    """Attention with a soft cap, for which there is no fused form: [B, H, L, D]."""
    assert scores.cap is not None
    scale = query.shape[-1] ** -0.5 if scores.scale is None else scores.scale
    products = query @ _for_each_query(query, key).transpose(2, 3)
    capped = scores.cap * torch.tanh(products * (scale / scores.cap))
    if mask is not None:
        # Not infinite, or the row of a padding, which sees no key, would become NaN.
        capped = capped.masked_fill(~mask, torch.finfo(capped.dtype).min)
    weights = capped.softmax(-1, dtype=torch.promote_types(query.dtype, torch.float32))
    return weights.to(query.dtype) @ _for_each_query(query, value)


def _for_each_query(query: Tensor, x: Tensor) -> Tensor:
    """Keys or values [B, K, N, D], once for each of the H / K query heads that share them."""
    shared = query.shape[1] // x.shape[1]
    return x if shared == 1 else x.repeat_interleave(shared, 1)


def register() -> None:
    """Make ATTENTION known to transformers, with its usual masks where a row is not packed."""
    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
