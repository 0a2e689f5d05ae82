"""Tokens and operations of a step, against what torch counts of the trainer's own passes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM

from kpo.model.packing import pack
from kpo.model.policy import Policy, recompute
from kpo.planning.machine import Device
from kpo.planning.report import report
from kpo.tasks.tokenizer import character_tokenizer
from tests.kpo.models import tiny_policy
from tests.kpo.planning.planned import PLENTY, plan, plan_of

CONFIG = Qwen3Config(
    vocab_size=300,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    intermediate_size=64,
)


def test_tokens_are_those_of_the_trainers_micro_batches() -> None:
    config = tiny_policy().model.config
    found = plan_of(config)  # 130 tokens hold a prompt of 10 and two responses of 50
    assert sorted(found.micro_batches) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert (found.prompts, found.responses) == (8, 16)
    assert found.packed_tokens == 2 * (4 * 10 + 8 * 50)
    two = plan_of(config, max_tokens_per_microbatch=210, ranks=2)
    assert len(two.micro_batches) == 2


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["plain", "checkpointed"])
def test_products_are_those_that_torch_counts(again: bool) -> None:
    found = plan_of(CONFIG, activation_checkpointing=again).operations
    model = Qwen3ForCausalLM(CONFIG).bfloat16()  # torch counts no product in place
    model.set_attn_implementation("kpo_packed")
    policy = Policy(model, character_tokenizer(), frozenset([1]))
    if again:
        recompute(model)
    counts = []
    for backward in (False, True):
        with FlopCounterMode(display=False) as counter:
            logprobs, _ = policy.scorer(pack([[5] * 10] * 2, [[6] * 50] * 2, torch.device("cpu")))
            if backward:
                logprobs.sum().backward()
        counts.append(8 * counter.get_total_flops())  # micro-batches of two responses in a step
    # Attention, which torch does not count on the CPU: a half square of 59 tokens, twice forward
    # and five times backward.
    square = 16 * 3 * 4 * 8 * 59**2
    assert found["old log-probs"] - 2 * square == counts[0]
    assert found["update"] - (9 if again else 7) * square == counts[1]
    alone = plan_of(CONFIG, max_tokens_per_microbatch=60).operations
    assert found["rollout"] == alone["old log-probs"]  # each response reads its prompt


def seconds(rate: float = 1e12, **settings: Any) -> dict[str, float]:
    machine = replace(PLENTY, rank=Device(1e12, rate))
    return replace(plan_of(CONFIG, **settings), machine=machine).seconds


@pytest.mark.slow
def test_twice_the_rate_or_the_ranks_halve_the_time() -> None:
    usual, fast = seconds(), seconds(2e12)
    assert fast == {phase: pytest.approx(value / 2) for phase, value in usual.items()}
    assert seconds(ranks=2)["rollout"] == pytest.approx(usual["rollout"] / 2)


@pytest.mark.slow
def test_sampling_and_training_reach_shares_of_the_rate() -> None:
    found, operations = seconds(), plan_of(CONFIG).operations
    assert operations["rollout"] / found["rollout"] == pytest.approx(0.25e12)
    assert operations["rollout"] / seconds(gpus=1)["rollout"] == pytest.approx(0.05e12)
    for phase in ("old log-probs", "update"):
        assert operations[phase] / found[phase] == pytest.approx(0.415e12)


@pytest.mark.slow
def test_an_evaluation_grows_with_problems_samples_and_lengths(tmp_path: Path) -> None:
    def found(problems: int = 30, **evaluate: Any) -> float:
        planned = plan(tmp_path, evaluate=evaluate)
        counts = {"aime24": problems, "mine": None}
        return replace(planned, benchmarks=counts).evaluation_seconds(1e12)

    usual = found(samples=16)
    assert found(samples=32) == pytest.approx(2 * usual)
    assert found(60, samples=16) == pytest.approx(2 * usual)
    assert found(samples=16, max_response_tokens=184) > 1.5 * usual
    one, two = (found(engine="vllm", gpus=n) for n in (1, 2))
    assert two == pytest.approx(one / 2)


def test_passes_repeat_the_update_alone(tmp_path: Path) -> None:
    once, thrice = plan(tmp_path), plan(tmp_path, passes=3)
    assert thrice.operations == {**once.operations, "update": 3 * once.operations["update"]}
    assert any("on each of 1 ranks, 3 times" in line for line in report(thrice))


def test_runs_take_the_time_of_their_own_rows(tmp_path: Path) -> None:
    one = plan(tmp_path)
    first, *others = one.experiment.methods
    seeds, a_run = len(one.experiment.seeds), one.training_seconds(256) / len(one.experiment.runs)
    row = one.experiment.methods[first].model_copy(update={"train": {"steps": 7, "passes": 2}})
    methods = {**one.experiment.methods, first: row}
    changed = replace(one, experiment=one.experiment.model_copy(update={"methods": methods}))
    own = 7 * (sum(one.seconds.values()) + one.seconds["update"])
    expected = seeds * (own + len(others) * a_run)
    assert changed.training_seconds(256) == pytest.approx(expected)
    said = "\n".join(report(changed))
    assert f"1 of {len(methods)} rows are trained otherwise, in 2 ways together" in said
    assert "trained otherwise" not in "\n".join(report(one))
