"""Learning-rate schedules, update by update."""

import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from kpo.trainer.schedule import warm_up

PEAK = 3e-3


def optimizer() -> SGD:
    return SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)


def rates(schedule: LambdaLR, updates: int) -> list[float]:
    """The learning rate of each update, as a share of the peak."""
    found = []
    for _ in range(updates):
        found.append(float(schedule.get_last_lr()[0]) / PEAK)
        schedule.optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        (0, [1, 1, 1, 1, 1, 1]),
        (1, [1, 1, 1, 1, 1, 1]),
        (2, [1 / 2, 1, 1, 1, 1, 1]),
        (4, [1 / 4, 2 / 4, 3 / 4, 1, 1, 1]),
    ],
)
def test_a_rise_then_constant(updates: int, expected: list[float]) -> None:
    assert rates(warm_up(optimizer(), updates), 6) == pytest.approx(expected)


def test_a_rise_then_a_cosine() -> None:
    found = rates(warm_up(optimizer(), 4, steps=24, final=0.1), 30)
    assert found[:4] == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1])
    for step in range(4, 24):
        share = (1 + math.cos(math.pi * (step - 4) / 20)) / 2
        assert found[step] == pytest.approx(0.1 + 0.9 * share)
    assert found[14] == pytest.approx(0.55)
    assert found[24:] == pytest.approx([0.1] * 6)  # and no rise after the end


def test_fewer_updates_than_the_rise_takes() -> None:
    found = rates(warm_up(optimizer(), 4, steps=2, final=0.1), 6)
    assert found == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 0.1])
