"""Samples that repeat: legitimate where the model is certain, refused beyond chance."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from kpo.evals.sampling.repeats import CHECKED, MAX_CHANCE, RepeatError, refuse_repeats
from kpo.rollout.engine import Response, Sampling
from kpo.rollout.transformers import TransformersEngine
from tests.kpo.models import tiny_policy

K = 16


class Oracle:
    """Gives, asked again, the responses of `groups` with `logprob` for each token."""

    def __init__(self, groups: list[list[list[int]]], logprob: float) -> None:
        self.groups, self.logprob = groups, logprob
        self.asked: list[int] = []

    def generate(self, prompts: Any, seeds: Sequence[int], sampling: Sampling) -> Any:
        assert (sampling.samples, sampling.logprobs) == (1, True)
        self.asked += seeds
        found = [self.groups[seed // 1000][seed % 1000] for seed in seeds]
        return [[Response(tokens, [self.logprob] * len(tokens), "stop")] for tokens in found]


def check(groups: list[list[list[int]]], logprob: float, temperature: float = 1.0) -> Oracle:
    """Check groups of K samples; problem i has the seeds from 1000 i."""
    engine: Any = Oracle(groups, logprob)
    sampled = [[Response(tokens, [], "stop") for tokens in group] for group in groups]
    seeds = [1000 * i for i in range(len(groups))]
    names = [f"easy p{i}" for i in range(len(groups))]
    sampling = Sampling(samples=K, max_tokens=99, temperature=temperature, logprobs=False)
    refuse_repeats(names, [[1]] * len(groups), seeds, [*enumerate(sampled)], sampling, engine)
    return engine


def different(length: int = 30) -> list[list[int]]:
    return [[j] * length for j in range(K)]


def copies(times: int, length: int = 30) -> list[list[int]]:
    return [*different(length)[: K - times], *[[99] * length] * times]


def test_samples_that_all_differ_are_not_asked_about() -> None:
    assert check([different(), different()], -9.0).asked == []


def test_the_first_of_the_copies_is_asked_about() -> None:
    assert check([different(), copies(3)], -1e-3).asked == [1000 + K - 3]


@pytest.mark.parametrize("times", [2, 3, K])
def test_copies_are_refused_beyond_chance_and_allowed_within(times: int) -> None:
    edge = (math.log(MAX_CHANCE) - math.log(math.comb(K, times))) / (times - 1) / 30
    check([copies(times)], edge * 0.99)
    with pytest.raises(RepeatError, match=rf"easy p1: {times} of 16 samples are the same 30 token"):
        check([different(), copies(times)], edge * 1.01)


def test_the_same_short_answer_is_allowed() -> None:
    check([copies(K, length=1)] * 20, -1.0)


def test_a_long_pair_is_seen_beside_more_copies_of_something_short() -> None:
    group = [*different()[: K - 6], [7], [7], [7], [7], [8] * 60, [8] * 60]
    with pytest.raises(RepeatError, match="2 of 16 samples are the same 60 tokens"):
        check([group], -1.0)


def test_greedy_samples_are_the_same() -> None:
    assert check([copies(K)], -9.0, temperature=0.0).asked == []


def test_only_the_longest_are_asked_about() -> None:
    engine = check([copies(2, length=i + 1) for i in range(20)], -1e-6)
    assert [seed // 1000 for seed in engine.asked] == list(range(19, 19 - CHECKED, -1))


def test_what_comes_out_otherwise_counts_up_to_there() -> None:
    groups = [copies(2)]
    engine: Any = Oracle([[[99] * 2 + [5] * 28] * K], -9.0)
    sampled = [[Response(tokens, [], "stop") for tokens in group] for group in groups]
    sampling = Sampling(samples=K, max_tokens=99, logprobs=False)
    finished = [*enumerate(sampled)]
    refuse_repeats(["p"], [[1]], [0], finished, sampling, engine)  # e^-18 is not beyond chance


def test_a_real_engine_without_seeds_is_refused_and_with_them_is_not() -> None:
    engine = TransformersEngine(tiny_policy())
    prompts, seeds = [[5, 6, 7], [8]], [100, 200]
    sampling = Sampling(samples=4, max_tokens=24, logprobs=False)
    groups = engine.generate(prompts, seeds, sampling)
    refuse_repeats(["a", "b"], prompts, seeds, [*enumerate(groups)], sampling, engine)
    broken = [[group[0]] * 4 for group in groups]
    with pytest.raises(RepeatError):
        refuse_repeats(["a", "b"], prompts, seeds, [*enumerate(broken)], sampling, engine)
