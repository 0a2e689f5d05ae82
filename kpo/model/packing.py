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
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import varlen
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv
from transformers.masking_utils import sdpa_mask

ATTENTION = "kpo_packed"
BUCKET_SLACK = 1.125
"""Sequences share a padded attention call while the longest is at most this times the shortest."""


@dataclass(frozen=True)
class Gathered:
    """B sequences as attention wants them: F tokens gathered from a row of N, and back.

    `index` [F] are the places in the row of the gathered, `restore` [N] those among the gathered of
    (one copy of) each token of the row. `shapes` are of the padded buckets (sequences, length) that
    they form; the places behind a sequence's end repeat its last token, which causal attention does
    not notice. `starts` [B + 1] int32 is where each sequence begins where nothing is padded.
    """

    index: Tensor
    restore: Tensor
    shapes: tuple[tuple[int, int], ...]
    starts: Tensor
    longest: int


@dataclass(frozen=True)
class Packed:
    """B sequences x y (without the last token of y) in one row; M response tokens in all.

    The row has tokens `ids` and their `positions` in their sequences, [1, N]; `sequences` are B
    lists of places in it. Those that `predicts` [M] names are followed by a response token, one of
    the `targets` [M]; in `mask` [B, T] these stand response by response. `grouped` is whether
    padded attention may take fewer heads of keys than of queries: on CUDA it would then hold a
    square of scores for each head.
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
        steps = torch.arange(longest)
        parts += [sequences[i][steps.clamp(max=len(sequences[i]) - 1)] for i in bucket]
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
    and with a soft cap, one call for each bucket of sequences alike in length. Plain attention is
    as transformers masks it, windows included.
    """
    kernel = has_kernel(query) and softcap is None and query.shape[-1] == value.shape[-1]
    if packed is None:  # CUDA has no kernel for grouped heads beside a mask, or in float32
        grouped = not query.is_cuda or (kernel and attention_mask is None)
    else:
        grouped = kernel or packed.grouped
    if not grouped:
        key, value = _for_each_query(query, key), _for_each_query(query, value)
    scores = Scores(settings.get("scaling"), sliding_window, softcap)
    if packed is None:
        return _attend(query, key, value, attention_mask, scores).transpose(1, 2), None
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


class Scores(NamedTuple):
    """What becomes of the products of queries and keys: their scale, window and soft cap."""

    scale: float | None
    window: int | None = None
    cap: float | None = None


def _by_kernel(q: Tensor, k: Tensor, v: Tensor, layout: Gathered, scores: Scores) -> Tensor:
    """Flash attention's variable-length kernel over [F, heads, D] without padding."""
    places = (layout.starts, layout.starts, layout.longest, layout.longest)
    window = (-1 if scores.window is None else scores.window - 1, 0)
    grouped = q.shape[1] != k.shape[1]
    output = varlen.varlen_attn(
        q, k, v, *places, scale=scores.scale, window_size=window, enable_gqa=grouped
    )
    assert isinstance(output, Tensor)  # a pair only where normalisers are asked for
    return output


def _by_bucket(q: Tensor, k: Tensor, v: Tensor, layout: Gathered, scores: Scores) -> Tensor:
    """Padded attention, a bucket at a time, over [F, heads, D]."""
    outputs = []
    sizes = [count * length for count, length in layout.shapes]
    for shape, *parts in zip(layout.shapes, *(x.split(sizes) for x in (q, k, v)), strict=True):
        query, key, value = (part.unflatten(0, shape).transpose(1, 2) for part in parts)
        mask = None
        if scores.window is not None and scores.window < shape[1]:
            mask = query.new_ones(shape[1], shape[1], dtype=torch.bool).tril()
            mask = mask.triu(1 - scores.window)
        outputs.append(_attend(query, key, value, mask, scores).transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scores: Scores
) -> Tensor:
    """Attention [B, H, L, D] over keys and values [B, K, N, D]; causal where there is no mask."""
    grouped, causal = query.shape[1] != key.shape[1], mask is None and query.shape[2] > 1
    if scores.cap is None:
        return F.scaled_dot_product_attention(
            query, key, value, mask, is_causal=causal, scale=scores.scale, enable_gqa=grouped
        )
    # There is no fused form.
    if causal:
        mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
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
    return repeat_kv(x, query.shape[1] // x.shape[1])


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # where a row is not packed
