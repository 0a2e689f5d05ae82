"""What an objective of one's own may get wrong, and the sentence that says so."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kpo import base, preflight, train
from kpo.objective import (
    Objective,
    ObjectiveOutput,
    TokenBatch,
    clipped_surrogate,
    masked_mean,
    token_log_ratio,
)
from kpo.objective_check import LOGGED, LOGGED_PREFIXES, ObjectiveError, check_objective
from kpo.registry import OBJECTIVES
from tests.kpo.cases import IDS, METHODS, Method
from tests.kpo.means import MEANS
from tests.kpo.trainer.runs import tiny_trainer


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_every_objective_of_the_suite_passes(method: Method) -> None:
    check_objective(method.build())


@pytest.mark.parametrize("objective", MEANS.values(), ids=MEANS)
def test_other_means_pass(objective: Objective) -> None:
    check_objective(objective)


def grpo(batch: TokenBatch) -> ObjectiveOutput:
    return clipped_surrogate(batch, token_log_ratio(batch), 0.2, 0.2)


@dataclass(frozen=True)
class Own:
    """An objective that makes something else of GRPO's output."""

    change: Callable[[TokenBatch, ObjectiveOutput], Any] = lambda _, output: output
    mean_over: Any = "responses"

    def __call__(self, batch: TokenBatch) -> Any:
        return self.change(batch, grpo(batch))


def losses(batch: TokenBatch) -> Tensor:
    """Of every response."""
    return -masked_mean(token_log_ratio(batch), batch.mask) * batch.advantages


def metric(name: Any, pair: Any) -> Own:
    return Own(lambda _, output: replace(output, metrics={name: pair(output)}))


def loss(of: Callable[[TokenBatch], Tensor]) -> Own:
    return Own(lambda batch, output: replace(output, loss=of(batch)))


def changed(**fields: Any) -> Own:
    return Own(lambda _, output: replace(output, **fields))


def standardised(batch: TokenBatch) -> Tensor:
    """Equal in value whatever the batch, and yet not in gradient."""
    total = losses(batch).sum()
    return total.detach() + (total - total.detach()) / len(batch.mask)


WRONG = {
    "a bare tensor": (
        Own(lambda _, output: output.loss),
        "returns a tensor [], with gradient, but",
    ),
    "nothing": (Own(lambda *_: None), "returns a NoneType, but must return an ObjectiveOutput"),
    "a loss a response": (loss(losses), "returns as its loss a tensor [6], with gradient, but it"),
    "a number as loss": (changed(loss=1.0), "returns as its loss a float"),
    "no gradient": (loss(lambda b: losses(b).sum().detach()), "returns a loss without a gradient"),
    "another's gradient": (
        loss(lambda b: torch.ones((), requires_grad=True) * losses(b).sum().detach()),
        "returns a loss without a gradient to batch.logprobs",
    ),
    "a mean": (
        loss(lambda b: losses(b).mean()),
        "for their halves together: it must be a sum, not a mean",
    ),
    "a mean over tokens": (
        loss(lambda b: -(token_log_ratio(b) * b.advantages[:, None]).sum() / b.mask.sum()),
        "for their halves together: it must be a sum",
    ),
    "padding counts in the length": (
        loss(lambda b: -(token_log_ratio(b) * b.advantages[:, None]).mean(1).sum()),
        "for their halves together: it must be a sum",
    ),
    "a gradient of the mean": (loss(standardised), "weighs a response's gradient by the responses"),
    "padding": (
        loss(lambda b: -((b.logprobs - b.old_logprobs).mean(1) * b.advantages).sum()),
        "lets places outside batch.mask into its loss: leave padding out",
    ),
    "infinity": (loss(lambda b: losses(b).sum() / 0), "returns NaN or infinity for a batch of"),
    "tokens counted": (
        Own(lambda b, o: replace(o, count=b.mask.sum())),
        "counts 28 for 6 responses of 28 tokens, but declares a mean over responses, which is 6",
    ),
    "a mean over responses, called one over tokens": (
        Own(mean_over="tokens"),
        "counts 6 for 6 responses of 28 tokens, but declares a mean over tokens, which is 28",
    ),
    "a constant length, called one over tokens": (
        Own(lambda b, o: replace(o, count=9 * o.count), mean_over="tokens"),
        "counts 54 for 6 responses of 28 tokens, but declares a mean over tokens",
    ),
    "another constant length": (
        Own(lambda b, o: replace(o, count=8 * o.count), mean_over=9),
        "counts 48 for 6 responses of 28 tokens, but declares a mean over 9 tokens a response,"
        " which is 54",
    ),
    **{
        f"a mean over {over!r}": (Own(mean_over=over), f"declares mean_over = {over!r}, but it")
        for over in ("token", 0, -3, True, 1.5, None)
    },
    "a ratio a response": (
        Own(lambda _, o: replace(o, log_ratio=o.log_ratio.mean(1))),
        "returns as log_ratio a tensor [6], but it must be the log-ratio of every token, a detached"
        " tensor [6, 8]",
    ),
    "a ratio with gradient": (
        Own(lambda b, o: replace(o, log_ratio=token_log_ratio(b))),
        "returns as log_ratio a tensor [6, 8], with gradient, but",
    ),
    "a ratio of padding": (
        Own(lambda _, o: replace(o, log_ratio=o.log_ratio + 1)),
        "returns a log_ratio other than 0 outside batch.mask",
    ),
    "no metrics": (changed(metrics=None), "returns as metrics a NoneType"),
    "a bare metric": (
        metric("far", lambda o: o.log_ratio.max()),
        "returns as metric 'far' a tensor [], but it must be a pair of numbers, (sum, count)",
    ),
    "a metric a token": (
        metric("far", lambda o: (o.log_ratio, o.count)),
        "returns as metric 'far' a tuple, but it must be a pair of numbers, (sum, count)",
    ),
    "a mean as metric": (
        metric("far", lambda o: (o.log_ratio.mean(), 1)),
        "for their halves together: both must be sums",
    ),
    "a logged name": (
        metric("reward", lambda o: (o.log_ratio.sum(), o.count)),
        "names a metric 'reward', which the trainer logs itself: choose another name",
    ),
    "a logged ratio": (
        metric("ratio_used_q50", lambda o: (o.log_ratio.sum(), o.count)),
        "names a metric 'ratio_used_q50', which the trainer logs itself",
    ),
}


@pytest.mark.parametrize(("objective", "words"), WRONG.values(), ids=WRONG)
def test_refused(objective: Own, words: str) -> None:
    with pytest.raises(ObjectiveError) as error:
        check_objective(objective)
    said = str(error.value)
    assert said.startswith("objective Own ")
    assert words in said
    assert "\n" not in said


def test_one_that_fails_names_the_line() -> None:
    with pytest.raises(
        ObjectiveError, match=r"fails on 6 .*test_objective_check.py, line \d+: Zer"
    ):
        check_objective(Own(lambda *_: 1 / 0))


def test_one_that_loses_the_axis_of_a_single_response() -> None:
    squeezed = Own(lambda _, o: replace(o, log_ratio=o.log_ratio.squeeze(0)))
    with pytest.raises(ObjectiveError, match=r"log_ratio a tensor \[5\], but .* tensor \[1, 5\]"):
        check_objective(squeezed)


@dataclass(frozen=True)
class Moody:
    """Its loss depends on how often it was called."""

    calls: list[int] = field(default_factory=list)

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        self.calls.append(1)
        output = grpo(batch)
        return replace(output, loss=output.loss * len(self.calls))


def test_one_with_a_memory() -> None:
    with pytest.raises(ObjectiveError, match="returns two losses for one batch"):
        check_objective(Moody())


# Where it is asked


def test_every_name_that_the_trainer_logs_is_known(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, steps=1)
    trainer.train()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    names = set(json.loads(line)) - {"clip_fraction"}  # GRPO's
    assert {name for name in names if not name.startswith(LOGGED_PREFIXES)} == LOGGED


@dataclass(frozen=True, kw_only=True)
class Mean:
    """GRPO with the mean in the place of the sum."""

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        output = grpo(batch)
        return replace(output, loss=output.loss / output.count)


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "mean", Mean)


@pytest.mark.usefixtures("_registered")
def test_no_command_begins_with_a_wrong_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        f"extends: {Path('workflow/config/mini.yaml').resolve()}\nexperiment: own\n"
        "methods: { mean: { label: Mean, objective: mean } }\n"
    )
    for command, *more in (
        (base, "--out", str(tmp_path / "base")),
        (train, "--method=mean", "--seed=0", f"--base={tmp_path}", f"--out={tmp_path / 'run'}"),
        (preflight,),
    ):
        monkeypatch.setattr(sys, "argv", ["command", "--config", str(path), *more])
        with pytest.raises(SystemExit) as stop:
            command.main()
        assert stop.value.code == 2
        assert "methods.mean: objective Mean returns the loss" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["own.yaml"]


@pytest.mark.usefixtures("_registered")
def test_a_trainer_refuses_it_before_it_samples(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match="objective Mean returns the loss"):
        tiny_trainer(tmp_path, objective="mean")
