"""What the filter remembers, against sixty digits and the paper's numbers."""

import math
from decimal import Decimal, localcontext

import pytest

from kpo.memory import memory_from_q, q_from_memory, steady_gain

QS = [10.0**power for power in range(-12, 13, 2)] + [3.3e5, 7.7e9]


@pytest.mark.parametrize("q", QS)
def test_steady_gain_to_the_last_digits(q: float) -> None:
    with localcontext() as context:
        context.prec = 60
        exact = (-Decimal(q) + (Decimal(q) ** 2 + 4 * Decimal(q)).sqrt()) / 2
    assert steady_gain(q) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(("q", "K"), [(1e-6, 1e-3), (1e-4, 1e-2)])
def test_steady_gain_of_the_paper(q: float, K: float) -> None:
    assert steady_gain(q) == pytest.approx(K, rel=6e-3)


@pytest.mark.parametrize("memory", [1.0001, 2.0, 12.0, 1000.0, 1e6])
def test_memory_is_the_inverse_of_the_steady_gain(memory: float) -> None:
    q = q_from_memory(memory)
    assert q == pytest.approx(1 / (memory * (memory - 1)), rel=1e-9)
    assert steady_gain(q) == pytest.approx(1 / memory, rel=1e-9)


@pytest.mark.parametrize("memory", [1.0, 0.5, 0.0, -3.0, math.nan, math.inf])
def test_memory_out_of_bounds(memory: float) -> None:
    with pytest.raises(ValueError, match="memory"):
        q_from_memory(memory)


@pytest.mark.parametrize(("q", "tokens"), [(1e-6, 1000.5), (1e-4, 100.5), (0.5, 2.0)])
def test_memory_of_a_q(q: float, tokens: float) -> None:
    assert memory_from_q(q) == pytest.approx(tokens, rel=2e-5)
