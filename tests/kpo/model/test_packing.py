"""Packed rows: what stands where, and that attention stays inside its sequence."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from kpo.model import packing
from kpo.model.packing import ATTENTION, Gathered, attention, buckets_of, pack
from tests.kpo.model.shared_prompts import LENGTHS, PROMPTS, RESPONSES

CPU = torch.device("cpu")


def test_a_shared_prompt_stands_once() -> None:
    packed = pack(PROMPTS, RESPONSES, CPU)
    row = [5, 6, 7, 11, 12, 13, 9, 61, 62, 4, 8, 15, 16, 23, 42, 50, 33, 1, 35, 36, 2, 3, 9]
    assert packed.ids.tolist() == [row]
    assert packed.positions.tolist() == [
        [0, 1, 2, 3, 4, 5, 0, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 7, 8, 9]
    ]


def test_each_response_token_is_predicted_by_the_one_before_it() -> None:
    packed = pack(PROMPTS, RESPONSES, CPU)
    assert packed.targets.tolist() == [token for y in RESPONSES for token in y]
    before = packed.ids[0, packed.predicts].tolist()
    assert before == [t for x, y in zip(PROMPTS, RESPONSES, strict=True) for t in [x[-1], *y[:-1]]]
    aligned = packed.align(packed.targets.double())
    assert aligned.tolist() == [[*y, *[0] * (5 - len(y))] for y in RESPONSES]


def sequences(layout: Gathered, ids: Tensor) -> list[list[int]]:
    """The gathered tokens, a sequence a list, padding included."""
    tokens = ids[0, layout.index].tolist()
    rows = []
    for count, length in layout.shapes:
        for _ in range(count):
            rows.append(tokens[:length])
            tokens = tokens[length:]
    return rows


def test_the_gathered_sequences_are_whole() -> None:
    packed = pack(PROMPTS, RESPONSES, CPU)
    whole = [[*x, *y[:-1]] for x, y in zip(PROMPTS, RESPONSES, strict=True)]
    assert sequences(packed.dense, packed.ids) == whole
    padded = sequences(packed.padded, packed.ids)
    for row in whole:
        assert any(found[: len(row)] == row and set(found[len(row) :]) <= {row[-1]}
                   for found in padded)  # fmt: skip
    assert packed.dense.starts.tolist() == [0, *torch.tensor(LENGTHS).cumsum(0).tolist()]
    assert sorted(packed.padded.shapes) == [(1, 1), (1, 3), (1, 5), (1, 6), (2, 11)]
    for layout in (packed.padded, packed.dense):
        assert layout.longest == max(LENGTHS)
        assert torch.equal(layout.index[layout.restore], torch.arange(packed.ids.shape[1]))


@pytest.mark.parametrize("lengths", [[7], [8, 9, 8], [100, 32, 1, 33, 36, 37, 101, 1024]])
def test_buckets_hold_sequences_alike_in_length(lengths: list[int]) -> None:
    buckets = list(buckets_of(lengths))
    assert sorted(i for bucket in buckets for i in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        inside = [lengths[i] for i in bucket]
        assert max(inside) <= 1.125 * min(inside)


def test_a_bucket_reaches_to_its_slack_and_is_one_call() -> None:
    assert list(buckets_of([9, 8, 10, 8])) == [[1, 3, 0], [2]]  # 9 is 1.125 times 8
    packed = pack(PROMPTS, RESPONSES, CPU)
    part = heads(2, packed.ids.shape[1], 0)
    plain = torch.nn.functional.scaled_dot_product_attention
    with mock.patch("kpo.model.packing.F.scaled_dot_product_attention", wraps=plain) as kernel:
        attention(None, part, part, part, None, packed=packed)
    assert kernel.call_count == 5  # for six sequences


def test_a_row_is_where_it_is_asked_for() -> None:
    packed = pack(PROMPTS, RESPONSES, torch.device("meta"))
    for layout in (packed.padded, packed.dense):
        assert layout.index.is_meta
        assert layout.restore.is_meta
        assert layout.starts.is_meta
    for part in (packed.ids, packed.positions, packed.predicts, packed.targets, packed.mask):
        assert part.is_meta
    cuda: Any = type("Device", (str,), {"type": "cuda"})("cpu")  # by name, where there is none
    assert not pack(PROMPTS, RESPONSES, cuda).grouped


def heads(count: int, tokens: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, count, tokens, 4, generator=generator, dtype=torch.float64)


def one_by_one(q: Tensor, k: Tensor, v: Tensor, index: list[int], scale: float) -> Tensor:
    """Causal attention of one sequence from its formula: [L, H, D]."""
    q, k, v = (part[0][:, index] for part in (q, k, v))
    k, v = (part.repeat_interleave(len(q) // len(part), 0) for part in (k, v))
    scores = scale * q @ k.transpose(1, 2)
    future = torch.ones(len(index), len(index)).triu(1).bool()
    return (scores.masked_fill(future, -math.inf).softmax(-1) @ v).transpose(0, 1)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_attention_and_its_gradient_are_those_of_each_sequence_alone(kv_heads: int) -> None:
    packed = pack(PROMPTS, RESPONSES, CPU)
    tokens = packed.ids.shape[1]
    q, k, v = (heads(n, tokens, seed) for seed, n in enumerate((6, kv_heads, kv_heads)))
    for part in (q, k, v):
        part.requires_grad_()
    weights = heads(6, tokens, 9)[0].transpose(0, 1)
    output, _ = attention(None, q, k, v, None, packed=packed, scaling=0.3)
    found = torch.autograd.grad((output[0] * weights).sum(), (q, k, v))
    expected = torch.zeros_like(output[0])
    for start, end in zip(packed.dense.starts[:-1], packed.dense.starts[1:], strict=True):
        index = packed.dense.index[start:end].tolist()
        expected = expected.index_copy(0, torch.tensor(index), one_by_one(q, k, v, index, 0.3))
    torch.testing.assert_close(output[0], expected, rtol=0, atol=1e-12)
    wanted = torch.autograd.grad((expected * weights).sum(), (q, k, v))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("window", "cap"), [(None, None), (4, None), (None, 2.0), (4, 2.0)])
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("scale", [0.3, None])
def test_windows_soft_caps_and_repeated_keys(
    window: int | None, cap: float | None, scale: float | None, *, grouped: bool
) -> None:
    """Each sequence alone, by the definition."""
    packed = replace(pack(PROMPTS, RESPONSES, CPU), grouped=grouped)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(1, heads, packed.ids.shape[1], 8, generator=generator, dtype=torch.float64)
        for heads in (6, 2, 2)
    )
    found, _ = attention(
        None, q, k, v, None, packed=packed, scaling=scale, sliding_window=window, softcap=cap
    )
    for places in packed.sequences:
        queries, keys, values = (x[0][:, places] for x in (q, k, v))
        keys, values = (x.repeat_interleave(3, 0) for x in (keys, values))
        scores = (scale or 8**-0.5) * queries @ keys.transpose(1, 2)
        if cap is not None:
            scores = cap * (scores / cap).tanh()
        distance = torch.arange(len(places))[:, None] - torch.arange(len(places))
        seen = (distance >= 0) & (distance < (window or len(places)))
        expected = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values
        torch.testing.assert_close(found[0, places], expected.transpose(0, 1))


def test_keys_are_repeated_where_the_kernel_without_a_square_takes_no_groups() -> None:
    assert pack(PROMPTS, RESPONSES, CPU).grouped
    with mock.patch("kpo.model.packing.F.scaled_dot_product_attention") as kernel:
        kernel.side_effect = lambda query, *_, **__: query
        for grouped in (True, False):
            packed = replace(pack(PROMPTS, RESPONSES, CPU), grouped=grouped)
            q, k = (
                torch.zeros(1, 6, packed.ids.shape[1], 8),
                torch.zeros(1, 2, packed.ids.shape[1], 8),
            )
            attention(None, q, k, k, None, packed=packed, scaling=0.3)
            assert kernel.call_args.kwargs["enable_gqa"] == grouped
            assert kernel.call_args.args[1].shape[1] == (2 if grouped else 6)


# Rows that are not packed

MODULE = SimpleNamespace(num_key_value_groups=3, is_causal=True)


@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize(
    ("queries", "keys", "hidden"), [(5, 5, 0), (2, 2, 0), (1, 5, 0), (5, 5, 2)]
)
def test_without_a_packed_row_it_is_plain_causal_attention(
    queries: int, keys: int, hidden: int, cap: float | None
) -> None:
    """The last queries see all keys before them, but not the first `hidden`, which a mask names."""
    q, k, v = (heads(n, t, s) for s, (n, t) in enumerate([(6, queries), (2, keys), (2, keys)]))
    seen = torch.ones(queries, keys).tril(keys - queries).bool()
    seen[hidden:, :hidden] = False
    mask = seen[None, None] if hidden else None
    found, nothing = attention(MODULE, q, k, v, mask, scaling=0.3, softcap=cap)
    scores = 0.3 * q @ k.repeat_interleave(3, 1).transpose(2, 3)
    scores = scores if cap is None else cap * (scores / cap).tanh()
    weights = scores.masked_fill(~seen, -math.inf).softmax(-1)
    assert nothing is None
    torch.testing.assert_close(found, (weights @ v.repeat_interleave(3, 1)).transpose(1, 2))


@pytest.mark.parametrize(
    ("device", "dtype", "masked", "grouped"),
    [
        ("cuda", torch.float32, False, False),
        ("cuda", torch.bfloat16, False, True),
        ("cuda", torch.bfloat16, True, False),
        ("cpu", torch.float32, False, True),
        ("cpu", torch.bfloat16, True, True),
    ],
)
def test_keys_are_repeated_where_cuda_has_no_kernel_for_grouped_heads(
    device: str, dtype: torch.dtype, *, masked: bool, grouped: bool
) -> None:
    with (
        FakeTensorMode(),
        mock.patch("kpo.model.packing.F.scaled_dot_product_attention") as kernel,
        mock.patch.object(packing, "repeat_kv", lambda x, n: x.new_empty(1, 2 * n, 5, 8)),
    ):
        query, key = (torch.empty(1, n, 5, 8, device=device, dtype=dtype) for n in (6, 2))
        mask = query.new_ones(5, 5, dtype=torch.bool) if masked else None
        attention(MODULE, query, key, key, mask, scaling=0.3)
    assert kernel.call_args.kwargs["enable_gqa"] == grouped
    assert kernel.call_args.kwargs["is_causal"] == (not masked)
    assert [part.shape[1] for part in kernel.call_args.args[1:3]] == [2 if grouped else 6] * 2


def test_transformers_finds_it_under_its_name() -> None:
    assert AttentionInterface()[ATTENTION] is attention
    assert AttentionMaskInterface()[ATTENTION] is sdpa_mask
