"""How a run's training reward went: where it ended, its best, and whether it collapsed.

One step's reward is of one batch, so both ends of what is looked back on are means of `WINDOW`
steps (all, if a run has fewer).

A run has collapsed if the mean reward of its last steps is below half of that of its first step,
which is the base policy's. Tables, grids and notes take it from here and from nowhere else.

Deviation: the paper does not say which checkpoint its figures are of; here the last one counts,
however much better an earlier one was. Measured: `tiny/training.csv`: largest `reward_gap_%`;
`tiny-offpolicy/training.csv`: largest `reward_gap_%`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

WINDOW = 5


def rewards(steps: Sequence[Mapping[str, float]]) -> list[float]:
    """Mean reward of each step that logged one."""
    return [float(step["reward"]) for step in steps if "reward" in step]


def last(values: Sequence[float]) -> float:
    """Mean of the last steps."""
    return fmean(values[-WINDOW:])


def best(values: Sequence[float]) -> float:
    """The highest mean of neighbouring steps."""
    width = min(WINDOW, len(values))
    return max(fmean(values[i : i + width]) for i in range(len(values) - width + 1))


def gap(values: Sequence[float]) -> float:
    """By how much the best steps are above the last ones."""
    return best(values) - last(values)


def collapsed(values: Sequence[float]) -> bool:
    """Whether training undid what the base policy could; False for a run without rewards."""
    return bool(values) and last(values) < values[0] / 2


def collapsed_runs(steps: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Names of the runs that collapsed, of all runs' steps by name."""
    return [run for run, own in steps.items() if collapsed(rewards(own))]
