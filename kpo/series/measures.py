"""Measures of structure in log-ratios z, added up over responses.

    positive         share of tokens with z > 0, of those with z != 0
    sd               standard deviation of all tokens, nats
    switch           share of adjacent tokens of opposite sign, of pairs without a 0
    switch_filtered  the same after KPO's filter with the paper's q
    run, run_p95     tokens of a stretch of one sign: mean, and what 95 % do not exceed
    low_frequency    share of the power at periods of 16 tokens or more, means left out
    acf_1 .. acf_64  autocorrelation of the deviations from each response's own mean
    q, gain          Q / V of a random walk plus noise by maximum likelihood, and what it explains
                     better than white noise does, nats (see `kpo.series.level`)
    mean_spread      standard deviation of responses' means over what white noise of the same
                     spread would give

White noise has a switch of 2 p (1 - p), p being `positive`; what else it gives depends on lengths,
so that the measures stand beside those of shuffled tokens and of random signs
(`kpo.series.ragged`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np
import torch

from kpo.kalman import kalman_filter
from kpo.series.level import LevelLikelihood
from kpo.series.ragged import Floats, Integers, Ragged

PAPER_Q = 1e-6
LAGS = 64
PERIOD = 16
"""Tokens; what takes longer counts as low frequency."""
LONGEST_RUN = 4096
"""Longer runs count as so long in run_p95."""


@dataclass
class Structure:
    """Adds up what the measures need; two of them add up too."""

    tokens: int = 0
    responses: int = 0
    positive: int = 0
    nonzero: int = 0
    total: float = 0.0
    squares: float = 0.0
    within: float = 0.0
    """Squared deviations from responses' own means."""
    means: float = 0.0
    means_squared: float = 0.0
    per_token: float = 0.0
    """Sum over responses of 1 / T."""
    switches: Integers = field(default_factory=lambda: np.zeros(2, dtype=np.int64))
    """Switches and pairs."""
    switches_filtered: Integers = field(default_factory=lambda: np.zeros(2, dtype=np.int64))
    runs: Integers = field(default_factory=lambda: np.zeros(LONGEST_RUN + 1, dtype=np.int64))
    """Runs by their length."""
    run_tokens: int = 0
    power: Floats = field(default_factory=lambda: np.zeros(2))
    """At low frequencies, and at all."""
    products: Floats = field(default_factory=lambda: np.zeros(LAGS + 1))
    pairs: Integers = field(default_factory=lambda: np.zeros(LAGS + 1, dtype=np.int64))
    """Products of deviations by lag, and how many they are."""
    level: LevelLikelihood = field(default_factory=LevelLikelihood)

    def add(self, z: Ragged) -> None:
        """Add responses."""
        if not len(z.lengths):
            return
        means, owners = z.means, z.owners
        deviations = z.values - means[owners]
        self.tokens += len(z.values)
        self.responses += len(z.lengths)
        self.positive += int((z.values > 0).sum())
        self.nonzero += int((z.values != 0).sum())
        self.total += float(z.values.sum())
        self.squares += float((z.values**2).sum())
        self.within += float((deviations**2).sum())
        self.means += float(means.sum())
        self.means_squared += float((means**2).sum())
        self.per_token += float((1 / z.lengths).sum())
        self.switches += _switches(z.values, owners)
        self.switches_filtered += _switches(_filtered(z), owners)
        self._add_runs(z.values, owners)
        self._add_power(deviations, z.lengths)
        self._add_products(deviations, owners)
        self.level.add(z)

    def merge(self, other: Structure) -> None:
        """Add what another has added up."""
        for one in fields(self):
            if one.name != "level":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        self.level.merge(other.level)

    def summary(self) -> dict[str, float]:
        """All measures by name, nan where there is nothing to measure."""
        q, gain = self.level.fit()
        variance = _ratio(self.within, self.tokens - self.responses)
        mean = _ratio(self.means, self.responses)
        spread = _ratio(self.means_squared - self.responses * mean**2, self.responses - 1)
        expected = variance * _ratio(self.per_token, self.responses)
        found = {
            "tokens": float(self.tokens),
            "responses": float(self.responses),
            "positive": _ratio(self.positive, self.nonzero),
            "sd": math.sqrt(max(_ratio(self.squares, self.tokens) - self._mean**2, 0)),
            "switch": _ratio(*self.switches),
            "switch_filtered": _ratio(*self.switches_filtered),
            "run": _ratio(self.run_tokens, int(self.runs.sum())),
            "run_p95": self._run_quantile(0.95),
            "low_frequency": _ratio(*self.power),
            "q": q,
            "gain": gain,
            "mean_spread": math.sqrt(max(_ratio(spread, expected), 0)),
        }
        level = _ratio(self.products[0], self.pairs[0])
        products = zip(self.products[1:], self.pairs[1:], strict=True)
        acf = {f"acf_{k}": _ratio(_ratio(*one), level) for k, one in enumerate(products, 1)}
        return {**found, **acf}

    @property
    def _mean(self) -> float:
        return _ratio(self.total, self.tokens)

    def _run_quantile(self, share: float) -> float:
        if not (count := self.runs.sum()):
            return math.nan
        return float(np.searchsorted(self.runs.cumsum(), share * count))

    def _add_runs(self, values: Floats, owners: Integers) -> None:
        """Stretches of one sign; a 0 belongs to none and ends one."""
        sign = np.sign(values)
        begins = np.ones(len(values), dtype=bool)
        begins[1:] = (sign[1:] != sign[:-1]) | (owners[1:] != owners[:-1])
        starts = np.flatnonzero(begins)
        lengths = np.diff(np.append(starts, len(values)))[sign[starts] != 0]
        self.run_tokens += int(lengths.sum())
        np.add.at(self.runs, np.minimum(lengths, LONGEST_RUN), 1)

    def _add_power(self, deviations: Floats, lengths: Integers) -> None:
        for one in np.split(deviations, np.cumsum(lengths)[:-1]):
            T = len(one)
            power = np.abs(np.fft.rfft(one)[1:]) ** 2
            if T % 2 == 0 and T > 1:
                power[-1] /= 2  # the highest frequency stands for itself alone, others for two
            self.power += power[: T // PERIOD].sum(), power.sum()

    def _add_products(self, deviations: Floats, owners: Integers) -> None:
        for k in range(min(LAGS, len(owners) - 1) + 1):
            same = owners[k:] == owners[: len(owners) - k]
            self.products[k] += (deviations[k:] * deviations[: len(owners) - k])[same].sum()
            self.pairs[k] += same.sum()


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else math.nan


def _switches(values: Floats, owners: Integers) -> Integers:
    """Adjacent tokens of opposite sign, and adjacent pairs without a 0."""
    product = (np.sign(values[1:]) * np.sign(values[:-1]))[owners[1:] == owners[:-1]]
    return np.array([(product < 0).sum(), (product != 0).sum()])


def _filtered(z: Ragged) -> Floats:
    padded, mask = z.padded()
    x = kalman_filter(torch.from_numpy(padded), torch.from_numpy(mask), q=PAPER_Q).numpy()
    return np.asarray(x[mask])
