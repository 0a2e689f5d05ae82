"""A recorded training is a training, and goes back to what its weights were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kpo.model.policy import Policy
from kpo.trainer.batch import Rollouts, old_logprobs
from kpo.trainer.laboratory import put, weights_of
from tests.kpo.estimators.recorded import recorded
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import tiny_trainer


def flat(weights: list[Tensor]) -> Tensor:
    return torch.cat([weight.flatten() for weight in weights])


@pytest.mark.parametrize("staleness", [0, 1])
def test_it_trains_as_a_run_does(tmp_path: Path, staleness: int) -> None:
    recorder = recorded(tmp_path / "a", [0], staleness=staleness)
    trainer = tiny_trainer(tmp_path / "b", warm_up=0.0, staleness=staleness)
    trainer.train()
    assert torch.equal(flat(recorder.kept[0]), flat(weights_of(trainer.policy)))
    own, runs = (t.log.rows for t in (recorder, trainer))
    assert [metrics for _, metrics, _ in own] == [metrics for _, metrics, _ in runs]


def test_weights_of_an_age_are_those_before_so_many_updates(tmp_path: Path) -> None:
    recorder = recorded(tmp_path / "a", [0, 1, 2, 6])
    assert list(recorder.kept) == [6, 2, 1, 0]
    shorter = recorded(tmp_path / "b", [0, 1], steps=2)
    assert torch.equal(flat(recorder.kept[2]), flat(shorter.kept[0]))
    assert torch.equal(flat(recorder.kept[6]), flat(weights_of(tiny_policy(seed=3))))
    assert len({float(flat(weights).sum()) for weights in recorder.kept.values()}) == 4


@pytest.mark.parametrize(("staleness", "ages"), [(0, [6, 4, 2]), (1, [6, 6, 4])])
def test_rollouts_are_known_by_the_age_of_what_sampled_them(
    tmp_path: Path, staleness: int, ages: list[int]
) -> None:
    recorder = recorded(tmp_path, [0, 2, 4, 6], staleness=staleness)
    assert [recorder.age_of(step) for step in range(3)] == ages
    assert [age for age, used in recorder.used.items() for _ in used] == ages
    for age, used in recorder.used.items():
        put(recorder.policy, recorder.kept[age])
        for rollouts in used:
            assert torch.equal(logprobs(recorder.policy, rollouts), rollouts.old_logprobs)


def logprobs(policy: Policy, rollouts: Rollouts) -> Tensor:
    return old_logprobs(policy, rollouts.prompts, rollouts.responses, 240)[0]


def test_older_weights_sample_and_the_last_ones_are_back(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, [0, 6], lr=0.05)
    new, old = (recorder.sampled_at(age, [3, 4]) for age in (0, 6))
    assert torch.equal(flat(weights_of(recorder.policy)), flat(recorder.kept[0]))
    assert [r.prompts for r in old] == [r.prompts for r in new]
    assert old[0].responses != new[0].responses
    for age, both in ((6, old), (0, new)):
        put(recorder.policy, recorder.kept[age])
        for rollouts in both:
            assert torch.equal(logprobs(recorder.policy, rollouts), rollouts.old_logprobs)
