"""The ledger as CSV and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kpo.common.text import csv_text
from kpo.evals.ledger.declared import Deviation
from kpo.evals.ledger.effects import NOT_KEPT, effect
from kpo.evals.ledger.settings import Setting

Table = list[list[str]]
UNMEASURED = "not measured"
HEADINGS = {
    "Settings": "What the experiment file of the default has otherwise than the paper's text or the"
    " authors' code (`workflow/config/paper.yaml`, `paper-official.yaml`). Each is a switch of that"
    " name. Effect: the paper's value minus ours, avg@k overall with 95 % limits.",
    "Declared": "What no setting of the paper covers, as the code that does it declares.",
}


def tables(settings: Sequence[Setting], declared: Sequence[Deviation], kept: Path) -> list[Table]:
    """Header and rows of both parts."""
    first = [["Setting", "Paper", "Authors' code", "Here", "Effect"]]
    for one in settings:
        effects = [text for text in one.effects if not text.endswith(NOT_KEPT)]
        told = "; ".join(effects) or (NOT_KEPT if one.effects else UNMEASURED)
        first.append([one.name, one.paper, one.code, one.here, told])
    second = [["Deviation", "Switch", "Effect", "Declared in"]]
    for d in declared:
        told = "; ".join(_effects(d, kept)) or UNMEASURED
        second.append([d.text[:1].upper() + d.text[1:], d.switch or "-", told, d.module])
    return [first, second]


def _effects(deviation: Deviation, kept: Path) -> Iterator[str]:
    """Of each place that "Measured" names, with that place."""
    for measured in filter(None, deviation.measured.split("; ")):
        yield f"{measured}: {effect(measured, kept)}"


def markdown(parts: Sequence[Table]) -> str:
    """Both parts, each under its heading."""
    text = ["# What this suite does otherwise than the paper"]
    for (heading, told), part in zip(HEADINGS.items(), parts, strict=True):
        rule = [["---"] * len(part[0])]
        grid = [f"| {' | '.join(row)} |" for row in [part[0], *rule, *part[1:]]]
        text += [f"## {heading}\n\n{told}", "\n".join(grid)]
    return "\n\n".join(text) + "\n"


def csv(parts: Sequence[Table]) -> str:
    """Both parts with the same columns."""
    (_, *settings), (_, *declared) = parts
    rows = [["kind", "what", "paper", "authors' code", "here", "switch", "effect", "declared in"]]
    rows += [["setting", n, p, c, h, n, e, ""] for n, p, c, h, e in settings]
    rows += [["declared", what, "", "", "", s, e, where] for what, s, e, where in declared]
    return csv_text(rows)
