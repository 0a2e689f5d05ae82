"""Graded answers drawn from a model whose true scores are known."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from kpo.evals.metrics import Floats

SAMPLES = 16


@dataclass(frozen=True)
class World:
    """logit P(correct) = level + seed + problem + seed x problem, normal with these deviations."""

    problems: int = 50
    level: float = 1.0
    problem: float = 1.0
    seed: float = 0.15
    both: float = 0.1

    def counts(self, rng: np.random.Generator, tables: int, seeds: int) -> Floats:
        """Correct answers of SAMPLES, [tables, seeds, problems]."""
        logit = (
            self.level
            + self.seed * rng.normal(size=(tables, seeds, 1))
            + self.problem * rng.normal(size=(tables, 1, self.problems))
            + self.both * rng.normal(size=(tables, seeds, self.problems))
        )
        return rng.binomial(SAMPLES, special.expit(logit)).astype(np.float64)

    def truth(self, metric: str) -> float:
        """Expected avg@16 or pass@16 over seeds and problems, by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(99)
        deviation = np.sqrt(self.problem**2 + self.seed**2 + self.both**2)
        p = special.expit(self.level + deviation * nodes)
        score = p if metric == "avg" else 1 - (1 - p) ** SAMPLES
        return float(score @ weights / weights.sum())


Rows = list[list[Floats]]  # row -> benchmark -> [..., seeds, problems]


def additive(rng: np.random.Generator, shift: float, *tables: int) -> Rows:
    """Four rows of normal scores in tables [*tables]; the last is better by `shift`."""
    shared = rng.normal(size=(*tables, 1, 60))
    rows: Rows = [[] for _ in range(4)]
    for blocks in rows:
        scale = {(1, 60): 0.1, (3, 1): 0.03, (3, 60): 0.1}
        noise = sum(s * rng.normal(size=(*tables, *shape)) for shape, s in scale.items())
        blocks.append(shared + noise + shift * (blocks is rows[-1]))
    return rows


def scores(counts: Floats, metric: str) -> Floats:
    """avg@16 or pass@16 of single problems."""
    return counts / SAMPLES if metric == "avg" else (counts > 0).astype(np.float64)
