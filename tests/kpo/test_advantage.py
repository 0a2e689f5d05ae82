"""Group advantages against the textbook formula and for what follows from it."""

import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kpo.advantage import group_advantages

seeded = settings(derandomize=True, deadline=None, max_examples=50)
rewards = st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=16)


def by_hand(group: list[float]) -> list[float]:
    mean, std = statistics.fmean(group), statistics.stdev(group)
    return [(R - mean) / (std + 1e-6) for R in group]


@pytest.mark.parametrize(
    "groups",
    [
        [[0.0, 1.0]],
        [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0]],
        [[0.0, 0.5, 2.0], [-3.0, 7.0, 7.5], [0.1, 0.1, 0.2]],
    ],
)
def test_advantages_by_hand(groups: list[list[float]]) -> None:
    found = group_advantages(torch.tensor(groups))
    assert found.dtype == torch.float32
    for row, group in zip(found.tolist(), groups, strict=True):
        assert row == pytest.approx(by_hand(group), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float64])
def test_rewards_of_any_type(dtype: torch.dtype) -> None:
    outcomes = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1]])
    found = group_advantages(outcomes.to(dtype))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, group_advantages(outcomes.float()))


def test_without_the_division_they_are_differences_to_the_mean() -> None:
    R = torch.tensor([[0.0, 1.0, 1.0, 0.0], [5.0, 5.0, 5.0, 5.0], [1.0, 0.0, 0.0, 0.0]])
    found = group_advantages(R, divide_by_std=False)
    wanted = [[-0.5, 0.5, 0.5, -0.5], [0.0] * 4, [0.75, -0.25, -0.25, -0.25]]
    assert found.tolist() == wanted


@seeded
@given(reward=st.floats(-1e6, 1e6, width=32), size=st.integers(2, 16))
def test_a_group_that_agrees_has_no_advantage(reward: float, size: int) -> None:
    assert group_advantages(torch.full((2, size), reward)).tolist() == [[0.0] * size] * 2


@seeded
@given(group=rewards)
def test_advantages_sum_to_zero_and_keep_the_order(group: list[float]) -> None:
    found = group_advantages(torch.tensor([group]))[0]
    assert bool(found.isfinite().all())
    assert abs(float(found.sum())) <= 1e-3 * len(group)
    by_reward = torch.tensor(group).argsort()
    assert bool((found[by_reward].diff() >= 0).all())


def test_advantages_do_not_depend_on_offset_scale_or_order() -> None:
    group = torch.tensor([[0.0, 1.0, 3.0, 3.0, 8.0]])
    base = group_advantages(group)
    torch.testing.assert_close(group_advantages(4 * group - 7), base, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(group_advantages(group.flip(1)), base.flip(1))


def test_groups_do_not_touch_each_other() -> None:
    groups = torch.tensor([[0.0, 1.0, 1.0], [5.0, 9.0, -2.0], [0.0, 0.0, 0.0]])
    alone = torch.cat([group_advantages(row[None]) for row in groups])
    torch.testing.assert_close(group_advantages(groups), alone)


@pytest.mark.parametrize("shape", [(4,), (3, 1), (2, 3, 4)])
def test_no_advantage_without_a_group(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rewards"):
        group_advantages(torch.zeros(shape))


def test_one_group_that_agrees_among_others_has_no_advantage() -> None:
    rewards = torch.tensor([[0.9, 0.9, 0.9], [0.0, 1.0, 0.0]])
    assert float(rewards[0].mean()) != float(rewards[0, 0])  # it is rounded
    found = group_advantages(rewards)
    assert found[0].tolist() == [0, 0, 0]
    assert bool((found[1] != 0).all())
