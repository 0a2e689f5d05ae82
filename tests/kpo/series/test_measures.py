"""Measures of structure, from their definitions in plain loops; what chance gives of each."""

import math
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch

from kpo.kalman import kalman_filter_reference
from kpo.series.measures import LAGS, PAPER_Q, Structure
from kpo.series.ragged import Floats, Portions, Ragged, random_signs, shuffled
from kpo.series.table import Measured


def ragged(responses: list[Floats]) -> Ragged:
    return Ragged(np.concatenate(responses), np.array([len(one) for one in responses]))


def sample(seed: int = 0, lengths: tuple[int, ...] = (1, 2, 40, 33, 7, 64)) -> list[Floats]:
    rng = np.random.default_rng(seed)
    found = [0.3 * rng.normal() + rng.normal(size=T) for T in lengths]
    found[2][5] = found[2][6] = found[4][0] = 0.0
    return found


def measured(responses: list[Floats]) -> dict[str, float]:
    found = Structure()
    found.add(ragged(responses))
    return found.summary()


def switch_of(responses: list[Floats]) -> float:
    pairs = [(a, b) for one in responses for a, b in pairwise(one) if a and b]
    return sum(a * b < 0 for a, b in pairs) / len(pairs)


def test_signs_and_runs() -> None:
    responses = sample()
    tokens = np.concatenate(responses)
    found = measured(responses)
    assert (found["tokens"], found["responses"]) == (len(tokens), len(responses))
    assert found["positive"] == np.mean(tokens[tokens != 0] > 0)
    assert found["sd"] == pytest.approx(tokens.std())
    assert found["switch"] == switch_of(responses)
    runs = [len(list(own)) for one in responses for sign, own in groupby(np.sign(one)) if sign]
    assert found["run"] == pytest.approx(np.mean(runs))
    assert found["run_p95"] == np.quantile(runs, 0.95, method="inverted_cdf")


def test_signs_of_filtered_tokens() -> None:
    responses = sample(1)
    filtered = [
        kalman_filter_reference(torch.from_numpy(one)[None], torch.ones(1, len(one)), q=PAPER_Q)[0]
        for one in responses
    ]
    expected = switch_of([x.numpy() for x in filtered])
    assert measured(responses)["switch_filtered"] == expected


def test_autocorrelation_and_means() -> None:
    responses = sample(2)
    found = measured(responses)
    d = [one - one.mean() for one in responses]
    variance = np.mean(np.concatenate(d) ** 2)
    for k in (1, 2, 31, 63):
        products = [x * y for one in d for x, y in zip(one, one[k:], strict=False)]
        assert found[f"acf_{k}"] == pytest.approx(np.mean(products) / variance)
    assert math.isnan(found[f"acf_{LAGS}"])  # no response is so long
    within = sum((one**2).sum() for one in d) / sum(len(one) - 1 for one in d)
    expected = np.sqrt(within * np.mean([1 / len(one) for one in responses]))
    means = np.array([one.mean() for one in responses])
    assert found["mean_spread"] == pytest.approx(means.std(ddof=1) / expected)


def test_power_at_low_frequencies() -> None:
    responses = sample(3)
    low = total = 0.0
    for one in responses:
        T = len(one)
        t = np.arange(T)
        for k in range(-((T - 1) // 2), T // 2 + 1):
            if k:
                power = abs((one * np.exp(-2j * np.pi * k * t / T)).sum()) ** 2
                total += power
                low += power * (abs(k) / T <= 1 / 16)
    assert measured(responses)["low_frequency"] == pytest.approx(low / total)


def test_a_slow_wave_has_all_its_power_at_low_frequencies() -> None:
    wave = np.sin(2 * np.pi * np.arange(128) / 32)
    assert measured([wave])["low_frequency"] == pytest.approx(1)
    assert measured([np.cos(np.pi * np.arange(128))])["low_frequency"] == pytest.approx(0)


def test_portions_add_up() -> None:
    responses = sample(4, (30, 5, 80, 2, 9))
    whole, parts, other = Structure(), Structure(), Structure()
    whole.add(ragged(responses))
    parts.add(ragged(responses[:1]))
    other.add(ragged(responses[1:3]))
    other.add(ragged(responses[3:]))
    parts.merge(other)
    assert parts.summary() == pytest.approx(whole.summary(), nan_ok=True)


def test_nothing_has_no_measures() -> None:
    found = Structure()
    found.add(Ragged(np.zeros(0), np.zeros(0, dtype=np.int64)))
    assert found.summary()["tokens"] == 0
    assert math.isnan(found.summary()["switch"])
    assert math.isnan(measured([np.zeros(3)])["positive"])


@pytest.mark.parametrize("p", [0.5, 0.7])
def test_memoryless_signs_switch_as_the_closed_form_says(p: float) -> None:
    rng = np.random.default_rng(5)
    z = ragged([np.where(rng.random(500) < p, 1.0, -1.0) * rng.random(500) for _ in range(100)])
    for null in (z, shuffled(z, rng), random_signs(z, rng)):
        found = Structure()
        found.add(null)
        assert found.summary()["switch"] == pytest.approx(2 * p * (1 - p), abs=0.01)
        assert found.summary()["mean_spread"] == pytest.approx(1, abs=0.2)
        assert abs(found.summary()["acf_1"]) < 0.02


def test_nulls_keep_what_they_promise() -> None:
    rng = np.random.default_rng(6)
    z = ragged([np.sort(rng.normal(size=T)) + 0.5 for T in (50, 3, 200)])
    mixed, signs = shuffled(z, rng), random_signs(z, rng)
    assert mixed.means == pytest.approx(z.means)
    for a, b in zip(*(np.split(x.values, z.starts[1:]) for x in (z, mixed)), strict=True):
        assert sorted(a) == sorted(b)
    assert sorted(np.abs(signs.values)) == sorted(np.abs(z.values))
    assert np.mean(signs.values > 0) == pytest.approx(np.mean(z.values > 0), abs=0.1)


@pytest.mark.parametrize("lengths", [[2, 2], [0, 3]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="response"):
        Ragged(np.zeros(3), np.array(lengths))


def test_portions_depend_on_lengths_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpo.series.ragged.PORTION", 12)
    portions = Portions[int]()
    cut = [portions.add(i, length) for i, length in enumerate((3, 4, 4, 1, 5, 20, 1))]
    assert [one for one in cut if one] == [[0, 1, 2], [3, 4], [5]]
    assert (portions.take(), portions.take()) == ([6], [])


def test_random_signs_are_drawn_for_all_responses_alike() -> None:
    rng = np.random.default_rng(7)
    measured = Measured(0)
    for i in range(200):
        measured.add(ragged([(-1) ** i * rng.random(50)]))  # each of one sign
    own, _, signs, _ = measured.rows()
    assert own["mean_spread"] > 10
    assert signs["mean_spread"] == pytest.approx(1, abs=0.15)
