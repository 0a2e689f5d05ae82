"""Which share of a steady drift the filters of an experiment let through, by position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import get_args

import numpy as np

from kpo.common.cli import UserError
from kpo.common.text import number
from kpo.evals.figures.data import Row, read_rows, value
from kpo.evals.figures.drawing import SMALL, drawn, legend_below, style
from kpo.memory import Start, mean_pass_share, memory_from_q, pass_share

PAPER: tuple[float, Start] = (1e-6, "known")
PAPER_TOKENS = 4096
"""The paper's longest response."""


def filters_of(rows: Sequence[Row]) -> list[tuple[float, Start]]:
    """The different filters of rows of grid.csv, the paper's first: q and start."""
    known: dict[str, Start] = {start: start for start in get_args(Start)}
    found = {(value(row["q"]), known[row["start"]]) for row in rows if row.get("q")} - {PAPER}
    return [PAPER, *sorted(found, key=lambda one: ([*known].index(one[1]), one[0]))]


def draw_pass_share(grid: Path, out: Sequence[Path]) -> None:
    """A line a filter: pass(t) of `kpo.memory`, and its mean over responses of two lengths.

    Raises UserError where nothing was trained.
    """
    rows = [row for row in read_rows(grid, ["response_tokens"]) if row["response_tokens"]]
    if not rows:
        raise UserError(f"{grid}: no trained rows")
    tokens = fmean(value(row["response_tokens"]) for row in rows)
    t = np.unique(np.geomspace(1, PAPER_TOKENS, 120).round()).astype(int)
    with drawn(out, 6.5, 4.2) as [[axes]]:
        for n, (q, start) in enumerate(filters_of(rows)):
            label = f"start {start}, q {number(q, 3)} (memory {memory_from_q(q):.0f})"
            means = (mean_pass_share(length, q, start) for length in (round(tokens), PAPER_TOKENS))
            told = " and ".join(f"{100 * mean:.3g}" for mean in means)
            shares = [100 * pass_share(int(one), q, start) for one in t]
            axes.plot(t, shares, **style(n), markevery=(4 * n % 13, 13), label=f"{label}: {told} %")
        for length, told in ((tokens, "responses here"), (PAPER_TOKENS, "the paper's longest")):
            axes.axvline(length, color="black", linestyle=(0, (1, 2)), linewidth=1)
            place = axes.get_xaxis_transform()
            name = f"{told}, {length:.0f}"
            axes.text(length, 1.01, name, transform=place, ha="center", fontsize=SMALL + 1)
        axes.set_xscale("log")
        axes.set_xlabel("position t in the response [tokens]")
        axes.set_ylabel("share of a steady drift that passes [%]")
        legend_below([[axes]], title="mean over a response of each length", columns=1)
