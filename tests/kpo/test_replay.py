"""A replay finds the response, the token and the parameters that are not finite."""

from __future__ import annotations

import math
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from kpo import replay as program
from kpo.config.experiment import load_experiment
from kpo.model.policy import Policy, response_logprobs, save_model
from kpo.objective import Objective, TokenBatch
from kpo.registry import make_objective
from kpo.trainer import replay as module
from kpo.trainer.guards.failure import FailedResponse, save_failure
from kpo.trainer.replay import replay
from tests.kpo.means import MEANS
from tests.kpo.models import tiny_policy

CONFIG = "workflow/config/tiny.yaml"
PROMPTS = [[5, 6, 7], [8, 9], [5, 6]]
RESPONSES = [[10, 11, 12, 13], [14, 15], [16, 17, 18]]


ADVANTAGES = torch.tensor([1.0, -1.0, 0.5])


def failed_of(policy: Policy, shift: float = 0.1) -> list[FailedResponse]:
    """Responses whose log-ratio is `shift` at every token."""
    with torch.no_grad():
        logprobs, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    failed = []
    for i, tokens in enumerate(RESPONSES):
        of, n = slice(i, i + 1), len(tokens)
        own = logprobs[of, :n].clone()
        batch = TokenBatch(own, own - shift, ADVANTAGES[of], mask[of, :n])
        failed.append(FailedResponse("aab"[i], PROMPTS[i], tokens, batch))
    return failed


def whole_batch(policy: Policy, shift: float = 0.1) -> TokenBatch:
    """The same as one batch, under the policy."""
    logprobs, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    return TokenBatch(logprobs, logprobs.detach() - shift, ADVANTAGES, mask)


def test_a_finite_batch_is_replayed_as_the_objective_sees_it() -> None:
    policy, objective = tiny_policy(), make_objective("gspo")
    replayed = replay(policy, objective, failed_of(policy))
    assert [(row.prompt, row.tokens, row.advantage) for row in replayed.rows] == [
        ("a", 4, 1.0),
        ("a", 2, -1.0),
        ("b", 3, 0.5),
    ]
    for row in replayed.rows:
        assert (row.raw, row.used) == pytest.approx((0.1, 0.1), abs=1e-5)
        assert (row.old, row.stored, row.recomputed) == (None, None, None)
        assert (row.ratio, row.loss) == (None, True)
    assert (replayed.weights, replayed.gradients) == ([], [])
    expected = objective(whole_batch(policy)).loss.detach() / 3
    assert replayed.loss == pytest.approx(float(expected), abs=1e-5)
    gradient = [p.grad.clone() for p in policy.model.parameters()]
    policy.model.zero_grad()
    (objective(whole_batch(policy)).loss / 3).backward()
    for ours, parameter in zip(gradient, policy.model.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad, atol=1e-6, rtol=1e-4)


def test_the_token_and_the_response_are_found() -> None:
    policy = tiny_policy()
    failed = failed_of(policy)
    failed[2].batch.old_logprobs[0, 1] = math.nan
    failed[0].batch.logprobs[0, 3] = -math.inf
    first, second, third = replay(policy, make_objective("grpo"), failed).rows
    assert (first.old, first.stored, first.recomputed, first.loss) == (None, 3, None, True)
    assert (second.old, second.stored, second.recomputed, second.loss) == (None, None, None, True)
    assert (third.old, third.stored, third.recomputed, third.loss) == (1, None, None, False)
    assert math.isnan(third.raw)
    assert math.isnan(third.used)


def test_an_infinite_ratio_spoils_the_gradient() -> None:
    policy = tiny_policy()
    failed = failed_of(policy, shift=200.0)  # exp overflows float32
    replayed = replay(policy, make_objective("kpo", q=1.0, clip_low=None, clip_high=None), failed)
    assert [row.loss for row in replayed.rows] == [False] * 3
    assert [row.recomputed for row in replayed.rows] == [None] * 3
    assert [row.ratio for row in replayed.rows] == [0, 0, 0]
    assert "model.layers.0.self_attn.q_proj.weight" in replayed.gradients
    assert replayed.weights == []


def one_wild_token(policy: Policy) -> list[FailedResponse]:
    """The second token of the third response has a log-ratio of 100: exp overflows float32."""
    failed = failed_of(policy)
    failed[2].batch.old_logprobs[0, 1] -= 100
    return failed


@pytest.mark.parametrize(
    ("objective", "used", "ratio"),
    [
        (make_objective("grpo"), 100.1, 1),  # its clip keeps the loss finite
        (make_objective("gspo"), 100 / 3 + 0.1, None),  # of the sequence
        (make_objective("kpo", q=1e-6), 2e-4, None),  # filtered: K_2 is 2e-6
        (make_objective("gmpo"), 0.6 / 3, None),  # clipped at 0.4 before it is averaged
    ],
    ids=["raw", "sequence", "filtered", "geometric"],
)
def test_an_overflow_is_looked_for_in_the_objectives_ratio(
    objective: Objective, used: float, ratio: int | None
) -> None:
    policy = tiny_policy()
    first, second, third = replay(policy, objective, one_wild_token(policy)).rows
    assert (first.ratio, second.ratio, third.ratio) == (None, None, ratio)
    assert third.raw == pytest.approx(100.1, abs=1e-4)
    assert third.used == pytest.approx(used, rel=0.05)
    assert [row.loss for row in (first, second, third)] == [True] * 3


def test_a_weight_that_is_not_finite_is_named() -> None:
    policy = tiny_policy()
    failed = failed_of(policy)
    policy.model.model.layers[1].mlp.up_proj.weight.data[0, 0] = math.nan
    replayed = replay(policy, make_objective("grpo"), failed)
    assert replayed.weights == ["model.layers.1.mlp.up_proj.weight"]
    assert [row.recomputed for row in replayed.rows] == [0, 0, 0]


def test_the_responses_of_all_ranks_are_one_batch() -> None:
    policy = tiny_policy()
    failed = failed_of(policy)
    twice = replay(policy, make_objective("grpo"), failed * 2)
    once = replay(policy, make_objective("grpo"), failed)
    assert twice.rows == once.rows * 2
    assert twice.loss == pytest.approx(once.loss)


def command(monkeypatch: pytest.MonkeyPatch, base: Path, failure: Path) -> None:
    arguments = ["--config", CONFIG, "--method", "grpo", "--base", str(base)]
    monkeypatch.setattr(sys, "argv", ["replay", *arguments, "--failure", str(failure)])
    program.main()


def test_the_command_prints_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, policy = tiny_policy(seed=1), tiny_policy(seed=2)
    save_model(base.model, base.tokenizer, tmp_path / "base")
    failed = failed_of(policy)
    failed[2].batch.old_logprobs[0, 1] = math.nan
    settings = {**load_experiment(CONFIG).section("train", "grpo"), "seed": 0}
    path = save_failure(
        tmp_path, failed, step=5, what="loss", model=policy.model, settings=settings
    )
    command(monkeypatch, tmp_path / "base", path)
    out, err = capsys.readouterr()
    assert "warning" not in err
    assert out.startswith("step 5: the loss was not finite")
    rows = [line.split() for line in out.splitlines()]
    assert [field.name for field in fields(module.Row)] in rows
    first = ["a", "4", "1", "0.1", "0.1", "-", "-", "-", "-", "finite"]  # the failure's weights
    assert first in rows
    assert ["b", "3", "0.5", "nan", "nan", "1", "-", "-", "1", "NOT", "FINITE"] in rows
    assert "mean loss: nan" in out
    assert "parameters with non-finite weights: none" in out


def test_other_settings_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, tmp_path / "base")
    settings = load_experiment(CONFIG).section("train", "grpo")
    settings["train"]["lr"] = 0.5
    path = save_failure(
        tmp_path, failed_of(policy), step=5, what="loss", model=policy.model, settings=settings
    )
    command(monkeypatch, tmp_path / "base", path)
    assert "warning: the run had other settings: train.lr was 0.5" in capsys.readouterr().err


def test_a_folder_without_a_failure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command(monkeypatch, tmp_path, tmp_path)
    assert end.value.code == 2
    assert "no failure of a run is saved here" in capsys.readouterr().err


@pytest.mark.parametrize("name", MEANS)
def test_a_replayed_loss_is_the_mean_that_was_minimised(name: str) -> None:
    policy, objective = tiny_policy(), MEANS[name]
    output = objective(whole_batch(policy))
    expected = float(output.loss.detach() / output.count)
    assert replay(policy, objective, failed_of(policy)).loss == pytest.approx(expected, abs=1e-5)
