"""The figures of a dump as a text to read."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kpo.common.text import number
from kpo.diagnosis.figures import Figures, Found
from kpo.diagnosis.survey import ANY
from kpo.series.measures import PAPER_Q

MEASURES = {
    "positive": "share of log-ratios > 0",
    "sd": "standard deviation, nats",
    "switch": "share of neighbours of opposite sign",
    "switch_filtered": f"the same after KPO's filter, q {number(PAPER_Q)}",
    "run": "tokens of one sign in a row, mean",
    "low_frequency": "power at periods from 16 tokens on",
    **{f"acf_{k}": f"autocorrelation at lag {k}" for k in (1, 2, 4, 8, 16, 32, 64)},
    "q": "Q / V by maximum likelihood",
    "gain": "nats of likelihood over white noise",
    "mean_spread": "spread of means over white noise's",
}
RATIOS = ("ess", "ess_responses", "kl", "mean_abs", "max_abs", "min_abs")
EFFECTS = ("clip_fraction", "gradient_dropped")
WORTH = 10.0
"""Nats of likelihood over white noise and shuffled tokens from which on a state is spoken of."""
ROUNDED = 1e-6
"""Nats: log-ratios that spread no further are what float32 makes of equal ones."""
COARSE = 1e-3
"""Nats: no log-ratios that are smaller come of log-probs in half precision."""
WIDTH = 98
"""Characters of a line."""


@dataclass(frozen=True)
class Table:
    """A table as texts, and what it says in sentences."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    reading: str


def title(found: Found) -> str:
    """Which responses the figures are of, and how many."""
    uses = {
        "first": "first use: no update was made on these responses yet",
        "later": "later passes: updates were made on these responses before, all with an advantage",
        ANY: "all responses: the dump does not say whether updates were made on them before",
    }
    stage = "" if found.stage == ANY else f"{found.stage} of training, "
    own = found.structure["measured"]
    count = f"{own['responses']:,.0f} responses, {own['tokens']:,.0f} tokens"
    return f"{stage}{uses[found.use]} ({count})"


def tables(found: Found) -> list[Table]:
    """Structure, ratios and objectives of one stage and use."""
    return [_structure(found), _ratios(found), _effects(found)]


def _structure(found: Found) -> Table:
    rows = [
        [name, *(_cell(own[name]) for own in found.structure.values()), text]
        for name, text in MEASURES.items()
    ]
    own, mixed = found.structure["measured"], found.structure["shuffled"]
    p = own["positive"]
    if not own["tokens"]:
        reading = "No response has an advantage, so that none of these passes moved the policy."
    elif math.isnan(p):
        reading = "All log-ratios are 0: present and old policy are the same here."
    elif own["sd"] < ROUNDED:
        reading = "Log-ratios of this size are rounding: present and old policy are the same here."
    else:
        reading = (
            f"Signs without memory, {number(p, 2)} of them positive, switch at"
            f" {number(2 * p * (1 - p), 2)} of the tokens, these at {number(own['switch'], 2)}."
            f" {_state(own, mixed)} Responses' means spread {number(own['mean_spread'], 2)} times"
            " as much as white noise's."
        )
    return Table(["structure", *found.structure, ""], rows, reading)


def _state(own: Mapping[str, float], mixed: Mapping[str, float]) -> str:
    gains = f"{number(own['gain'], 3)} nats, {number(mixed['gain'], 3)} of shuffled tokens"
    if own["gain"] - mixed["gain"] <= WORTH:
        return f"A slow state explains them no better than white noise ({gains})."
    return (
        f"A slow state explains them better than white noise ({gains}), best with"
        f" q = {number(own['q'], 2)}; the paper's is {number(PAPER_Q)}."
    )


def _ratios(found: Found) -> Table:
    coarse = [name for name, own in found.ratios.items() if COARSE < own["min_abs"] < math.inf]
    reading = (
        "ess: effective sample size, of tokens and of whole responses, as a share; kl and sizes in"
        " nats."
    )
    for name in coarse:
        reading += (
            f" No {name} is smaller than {_cell(found.ratios[name]['min_abs'])}: log-probs of half"
            " precision, coarser than clips of 3e-4."
        )
    return Table(["ratios", *RATIOS], _rows(found.ratios, RATIOS), reading)


def _effects(found: Found) -> Table:
    reading = (
        "Of the on-policy gradient, gradient_dropped is the share that belongs to tokens whose"
        " derivative is 0 under the objective; clip_fraction counts tokens."
    )
    return Table(["objective", *EFFECTS], _rows(found.effects, EFFECTS), reading)


def _rows(figures: Figures, names: Sequence[str]) -> list[list[str]]:
    return [[subject, *(_cell(own[name]) for name in names)] for subject, own in figures.items()]


def _cell(value: float) -> str:
    """A figure with three digits; empty where there is none."""
    return number(float(value), 3) if math.isfinite(value) else ""


def lines(found: Found) -> Iterator[str]:
    """The report of one stage and use."""
    yield title(found)
    for table in tables(found):
        yield ""
        yield from _aligned(table)
        yield from textwrap.wrap(table.reading, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _aligned(table: Table) -> Iterator[str]:
    """Lines with columns below each other: numbers to the right, names and explanations left."""
    widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    for row in (table.head, *table.rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        for i in (0, *([len(row) - 1] if table.head[-1] == "" else [])):
            cells[i] = row[i].ljust(widths[i])
        yield f"  {'  '.join(cells)}".rstrip()
