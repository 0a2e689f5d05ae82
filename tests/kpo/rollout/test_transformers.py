"""The batched sampler against full forward passes of the Hugging Face model."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from kpo.model.policy import response_logprobs
from kpo.rollout.engine import Sampling
from kpo.rollout.transformers import TransformersEngine, sample_tokens
from tests.kpo.models import tiny_policy, unusual_policy

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [3, 4]]
EQUAL = [[5, 6, 7], [8, 9, 10]]
CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
def test_logprobs_are_those_of_the_trainer(family: str) -> None:
    policy = tiny_policy(family)
    groups = TransformersEngine(policy).generate(PROMPTS, [1, 2, 3, 4], Sampling(3, 12))
    for prompt, group in zip(PROMPTS, groups, strict=True):
        tokens = [response.tokens for response in group]
        with torch.no_grad():
            expected, _, mask = response_logprobs(policy, [prompt] * 3, tokens)
        for response, row, real in zip(group, expected, mask, strict=True):
            torch.testing.assert_close(
                torch.tensor(response.logprobs), row[real], atol=1e-5, rtol=1e-5
            )


def test_responses_end_at_the_end_token_or_at_the_limit() -> None:
    policy = tiny_policy()
    (eos,) = policy.eos
    groups = TransformersEngine(policy).generate(PROMPTS, [1, 2, 3, 4], Sampling(32, 40))
    finishes = Counter(r.finish for group in groups for r in group)
    assert finishes["stop"] > 0
    assert finishes["length"] > 0
    for response in (r for group in groups for r in group):
        assert eos not in response.tokens[:-1]
        assert (response.tokens[-1] == eos) == (response.finish == "stop")
        assert response.finish == "stop" or len(response.tokens) == 40
        assert len(response.tokens) == len(response.logprobs)


def test_each_of_two_end_tokens_ends_a_response() -> None:
    policy = unusual_policy("qwen3")
    groups = TransformersEngine(policy).generate(PROMPTS, [1, 2, 3, 4], Sampling(64, 40))
    last = Counter(r.tokens[-1] for group in groups for r in group if r.finish == "stop")
    assert last.keys() == policy.eos
    assert not any(policy.eos & set(r.tokens[:-1]) for group in groups for r in group)


def test_samples_do_not_depend_on_the_batch_around_them() -> None:
    policy = tiny_policy()
    sampling = Sampling(4, 24)
    together = TransformersEngine(policy).generate(PROMPTS, [11, 22, 33, 44], sampling)
    small = TransformersEngine(policy, batch=3).generate(PROMPTS, [11, 22, 33, 44], sampling)
    alone = TransformersEngine(policy).generate(PROMPTS[2:3], [33], sampling)
    assert [r.tokens for r in together[2]] == [r.tokens for r in alone[0]]
    assert [[r.tokens for r in g] for g in together] == [[r.tokens for r in g] for g in small]


def test_a_stream_gives_each_prompt_when_its_last_batch_is_done() -> None:
    engine, sampling = TransformersEngine(tiny_policy(), batch=3), Sampling(4, 12)
    expected = engine.generate(PROMPTS, [11, 22, 33, 44], sampling)
    finished = list(engine.stream(PROMPTS, [11, 22, 33, 44], sampling))
    assert [[i for i, _ in some] for some in finished] == [[], [0], [1], [2], [], [3]]
    assert [group for some in finished for _, group in some] == expected


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
def test_equal_prompts_are_read_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(family)
    a, b = PROMPTS[0], PROMPTS[2]
    engine, sampling = TransformersEngine(policy), Sampling(2, 24)
    (alone,) = engine.generate([a], [7], sampling)
    prefill, read = type(engine.decoder).prefill, []

    def counted(decoder: Any, ids: Tensor, mask: Tensor, max_new: int) -> Tensor:
        read.append(len(ids))
        return prefill(decoder, ids, mask, max_new)

    monkeypatch.setattr(type(engine.decoder), "prefill", counted)
    groups = engine.generate([b, a, b, a], [5, 7, 6, 7], sampling)
    assert read == [2]
    for group in (groups[1], groups[3]):
        assert [r.tokens for r in group] == [r.tokens for r in alone]


def test_seeds_and_sample_numbers_give_different_responses() -> None:
    policy = tiny_policy()
    engine = TransformersEngine(policy)
    first = engine.generate(EQUAL, [1, 50], Sampling(8, 24))
    again = engine.generate(EQUAL, [1, 50], Sampling(8, 24))
    other = engine.generate(EQUAL, [2, 60], Sampling(8, 24))
    assert [r.tokens for r in first[0]] == [r.tokens for r in again[0]]
    assert len({tuple(r.tokens) for r in first[0]}) == 8
    assert [r.tokens for r in first[0]] != [r.tokens for r in other[0]]


def test_sync_brings_new_weights_into_the_samples() -> None:
    policy = tiny_policy()
    engine = TransformersEngine(policy)
    before = engine.generate(EQUAL, [1, 2], Sampling(2, 24))
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(1.5)
    engine.sync_weights(policy)
    after = engine.generate(EQUAL, [1, 2], Sampling(2, 24))
    fresh = TransformersEngine(policy).generate(EQUAL, [1, 2], Sampling(2, 24))
    assert [r.tokens for r in before[0]] != [r.tokens for r in after[0]]
    assert [r.tokens for r in after[0]] == [r.tokens for r in fresh[0]]


def test_sampling_follows_the_distribution() -> None:
    probs = torch.tensor([0.5, 0.0, 0.3, 0.2])
    uniform = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    token, logprob = sample_tokens(probs.log().expand(1000, -1), uniform, Sampling(1, 1))
    shares = torch.bincount(token, minlength=4) / 1000
    torch.testing.assert_close(shares, probs, atol=2e-3, rtol=0)
    torch.testing.assert_close(logprob, probs[token].log())


def test_temperature_and_nucleus() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(1000, -1)
    uniform = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    greedy, _ = sample_tokens(logits, uniform, Sampling(1, 1, temperature=0))
    assert greedy.eq(0).all()
    hot, _ = sample_tokens(logits, uniform, Sampling(1, 1, temperature=2.0))
    share = torch.softmax(logits[0] / 2, -1)[0]
    assert math.isclose(hot.eq(0).float().mean(), share, abs_tol=2e-3)
    # softmax is .644 .237 .087 .032: two tokens are needed to reach .8
    nucleus, logprob = sample_tokens(logits, uniform, Sampling(1, 1, top_p=0.8))
    assert set(nucleus.tolist()) == {0, 1}
    assert math.isclose(logprob[nucleus == 0][0].exp(), 0.644 / (0.644 + 0.237), abs_tol=1e-3)


def test_extreme_uniforms_never_pick_an_impossible_token() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(2, -1)
    uniform = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    token, _ = sample_tokens(logits, uniform, Sampling(1, 1))
    assert token.tolist() == [1, 1]


def test_the_largest_uniform_picks_no_impossible_token_where_probabilities_sum_to_less() -> None:
    logits = torch.randn(200, 1000, generator=torch.Generator().manual_seed(0))
    logits[:, -5:] = -torch.inf
    sums = logits.softmax(-1).cumsum(-1, dtype=torch.float64)[:, -1]
    assert (sums < 1 - 2**-53).any()  # in float32 they round
    uniform = torch.full((200,), 1 - 2**-53, dtype=torch.float64)
    token, logprob = sample_tokens(logits, uniform, Sampling(1, 1))
    assert token.max() < 995
    assert logprob.isfinite().all()
