"""The figures of a dump as a text to read."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

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
WIDTH = 98
"""Characters of a line."""
WORTH = 10.0
"""Nats of likelihood from which on a state is worth speaking of; shuffled tokens give none."""


def title(found: Found) -> str:
    """Which responses the figures are of."""
    uses = {
        "first": "first use: no update was made on these responses yet",
        "later": "later passes: updates were made on these responses before",
        ANY: "all responses: the dump does not say whether updates were made on them before",
    }
    stage = "" if found.stage == ANY else f"{found.stage} of training, "
    return stage + uses[found.use]


def reading(found: Found) -> str:
    """What the structure says, in sentences."""
    own, mixed = found.structure["measured"], found.structure["shuffled"]
    p = own["positive"]
    if math.isnan(p):
        return "All log-ratios are 0: present and old policy are the same here."
    chance = 2 * p * (1 - p)
    sentences = [
        f"Signs without memory, {number(p, 2)} of them positive, switch at {number(chance, 2)} of"
        f" the tokens, so that a switch of {number(own['switch'], 2)} says nothing by itself."
    ]
    gain = own["gain"] - max(mixed["gain"], 0)
    if gain > WORTH:
        sentences.append(
            f"There is a state to filter: {number(gain, 3)} nats more than of shuffled tokens, at"
            f" q = {number(own['q'], 2)}; the paper's filter has {number(PAPER_Q)}."
        )
    else:
        sentences.append(
            "White noise explains them as well as a slow state does: nothing here to filter."
        )
    return " ".join(sentences)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with columns one below the other, the first to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join([first.strip().ljust(widths[0]), *others]).rstrip()


def cells(figures: Figures, names: Mapping[str, str] | Sequence[str]) -> list[list[str]]:
    """A row for each subject: its name and its figures, empty where there is none."""
    return [[subject, *(cell(own[name]) for name in names)] for subject, own in figures.items()]


def cell(value: float) -> str:
    """A figure with three digits; empty where there is none."""
    return number(float(value), 3) if math.isfinite(value) else ""


def lines(found: Found) -> Iterator[str]:
    """The report of one stage and use."""
    own = found.structure["measured"]
    yield f"{title(found)} ({own['responses']:,.0f} responses, {own['tokens']:,.0f} tokens)"
    yield ""
    subjects = list(found.structure)
    rows = [
        [name, *(cell(found.structure[of][name]) for of in subjects), text]
        for name, text in MEASURES.items()
    ]
    width = max(len(row[-1]) for row in rows)
    yield from table(
        ["structure", *subjects, ""], [[*row[:-1], row[-1].ljust(width)] for row in rows]
    )
    yield from textwrap.wrap(reading(found), WIDTH, initial_indent="  ", subsequent_indent="  ")
    yield ""
    yield from table(["ratios", *RATIOS], cells(found.ratios, RATIOS))
    yield ""
    names = ("clip_fraction", "gradient_dropped")
    yield from table(["objective", *names], cells(found.effects, names))
