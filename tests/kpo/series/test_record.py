"""What is heard of a training: the log-ratios of its updates, by stage and use."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kpo.evals.grading.grader import Grade
from kpo.objective import TokenBatch, divides_by_std, mean_over, role_of
from kpo.registry import make_objective
from kpo.series.ragged import Ragged
from kpo.series.record import Heard, Listening, ListeningTrainer
from kpo.trainer.batch import Reward
from kpo.trainer.loop import Trainer
from tests.kpo.trainer.runs import by_length, tiny_trainer

NOTHING = Grade(False, "ok", None)
Places = list[tuple[str, str, Ragged]]


def listened(
    folder: Path, reward: Reward | None = None, **settings: Any
) -> tuple[Places, ListeningTrainer]:
    """A training of 3 steps of 2 updates a pass, and all that was heard."""
    trainer = tiny_trainer(folder, **{"warm_up": 0.0, **settings})
    heard: Places = []
    parts = {f.name: getattr(trainer, f.name) for f in fields(Trainer)}
    parts |= {"objective": Listening(trainer.objective), "reward": reward or trainer.reward}
    listening = ListeningTrainer(
        **parts, heard=lambda one: heard.append((one.stage, one.use, one.log_ratios))
    )
    assert list(listening.record()) == [1, 2, 3]
    return heard, listening


def test_first_use_and_later_passes_are_kept_apart(tmp_path: Path) -> None:
    heard, _ = listened(tmp_path, by_length, passes=2)
    assert list(dict.fromkeys(stage for stage, *_ in heard)) == ["begin", "middle", "end"]
    for stage in ("begin", "middle", "end"):
        first = sum(len(z.values) for at, use, z in heard if (at, use) == (stage, "first"))
        later = sum(len(z.values) for at, use, z in heard if (at, use) == (stage, "later"))
        assert 0 < first < later  # without the first mini-batch of the first pass, and with it
    assert all(z.values.any() for *_, z in heard)


def test_of_one_pass_nothing_is_later_and_of_stale_rollouts_nothing_is_on_policy(
    tmp_path: Path,
) -> None:
    heard, _ = listened(tmp_path / "fresh")
    stale, _ = listened(tmp_path / "stale", staleness=1)
    assert {use for _, use, _ in [*heard, *stale]} == {"first"}
    tokens = sum(len(z.values) for *_, z in heard), sum(len(z.values) for *_, z in stale)
    assert tokens[1] > 1.5 * tokens[0]


def test_listening_changes_nothing(tmp_path: Path) -> None:
    _, listening = listened(tmp_path / "a", passes=2)
    plain = tiny_trainer(tmp_path / "b", warm_up=0.0, passes=2)
    plain.train()
    pairs = zip(listening.policy.model.parameters(), plain.policy.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_of_later_passes_only_what_moved_the_policy_is_measured() -> None:
    still = replace(batch(), advantages=torch.tensor([0.0, -1.0]))
    rollouts: Any = None
    first = Heard(0, "begin", "first", rollouts, [0, 1], still).log_ratios
    later = replace(Heard(0, "begin", "first", rollouts, [0, 1], still), use="later").log_ratios
    assert [z.values.tolist() for z in (first, later)] == [[0.5, -0.5, -1.5, 0.5], [0.5]]
    assert first.lengths.tolist() == [3, 1]
    assert first.values.dtype == np.float64


def test_responses_without_an_advantage_are_of_no_later_pass(tmp_path: Path) -> None:
    heard, _ = listened(tmp_path, passes=2, reward=lambda pairs: [NOTHING for _ in pairs])
    assert {use for _, use, z in heard if len(z.values)} == {"first"}


def batch(gradient: bool = True) -> TokenBatch:
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, 7.0, 7.0]], requires_grad=gradient)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    return TokenBatch(logprobs, torch.full((2, 3), -1.5), torch.tensor([1.0, -1.0]), mask)


def test_only_batches_with_a_gradient_are_heard() -> None:
    heard: list[TokenBatch] = []
    objective = Listening(make_objective("grpo"), heard.append)
    loss = objective(own := batch()).loss
    objective(batch(gradient=False))
    assert loss == make_objective("grpo")(batch()).loss
    assert heard == [own]


def test_rows_are_those_of_the_batch(tmp_path: Path) -> None:
    heard: list[Heard] = []
    trainer = tiny_trainer(tmp_path, warm_up=0.0, passes=2, max_tokens_per_microbatch=60)
    parts = {f.name: getattr(trainer, f.name) for f in fields(Trainer)}
    parts["objective"] = Listening(trainer.objective)
    list(ListeningTrainer(**parts, heard=heard.append).record())
    assert max(len(one.rows) for one in heard) < 16  # more than one micro-batch an update
    for one in heard:
        mask = one.batch.mask.bool()
        lengths = [len(one.rollouts.responses[row].tokens) for row in one.rows]
        assert mask.sum(1).tolist() == lengths
        old = one.rollouts.old_logprobs[list(one.rows), : mask.shape[1]]
        assert torch.equal(old[mask], one.batch.old_logprobs[mask])


@pytest.mark.parametrize(
    ("name", "settings"), [("dapo", {}), ("kpo", {"q": 1e-6}), ("dr_grpo", {"length": 7})]
)
def test_a_listening_objective_declares_what_the_objective_does(
    name: str, settings: dict[str, Any]
) -> None:
    objective = make_objective(name, **settings)
    listening = Listening(objective)
    assert mean_over(listening) == mean_over(objective)
    assert role_of(listening) == role_of(objective)
    assert divides_by_std(listening) == divides_by_std(objective)
