"""Golds of the data sets as plain LaTeX.

`NORMALISERS` repair what is odd in the golds of a data set, whose record names one
(`kpo.tasks.datasets.sources`); each is a pure function of the gold and changes nothing when applied
twice. What all golds and answers have in common is done by `evals.grading.respell.clean`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from kpo.evals.grading.respell import scientific


def _integers(gold: str) -> str:
    """Leading zeros, as AIME answers have them (`025`)."""
    text = gold.strip()
    return str(int(text)) if re.fullmatch(r"0\d{1,8}", text) else text


def _trailing_letter(gold: str) -> str:
    """`6m` as `6(m)`: math-verify takes a last letter after a number for a unit and drops it."""
    return re.sub(r"([\d}])\s*([cdghlmost])\Z", r"\1(\2)", gold)


def _minerva(gold: str) -> str:
    """Python spellings (`np.arcsin(10/13)`, `-1./3`, `4e33`), stray dollars, trailing variables."""
    text = " ".join(gold.replace("$", "").split())
    text = re.sub(r"\bnp\.arcsin", r"\\arcsin", text)
    text = re.sub(r"(?<=\d)\./(?=\d)", "/", text)
    text = re.sub(r"^\\frac\{d ?[A-Za-z]\}\{d ?[a-z]\}=", "", text)  # then it may be left out
    return _trailing_letter(scientific(text))


def _olympiadbench(gold: str) -> str:
    """Dollars, a full stop, a typo, words after the answer, a name with a subscript before it."""
    text = " ".join(re.sub(r"(?<!\\)\$", "", gold).split())
    text = re.sub(r",? where .*", "", text).rstrip(". ")
    text = re.sub(r"^[a-z](?=\([^()]*\]$)", "", text)  # t(0,4]
    text = re.sub(r"^[a-z]_\{\\max ?\}=", "", text)
    return _trailing_letter(text)


NORMALISERS: dict[str, Callable[[str], str]] = {
    "integers": _integers,
    "minerva": _minerva,
    "olympiadbench": _olympiadbench,
    "strip": str.strip,
}


def normalise_gold(normaliser: str | None, gold: str) -> str:
    """The gold as plain LaTeX, by one of NORMALISERS; as it is without one."""
    return gold if normaliser is None else NORMALISERS[normaliser](gold)


def normaliser_argument(parser: argparse.ArgumentParser) -> None:
    """Add --normaliser, for golds that another program than evals.sample wrote."""
    parser.add_argument(
        "--normaliser",
        choices=NORMALISERS,
        help="what makes golds plain LaTeX where they stand as in their data set; by default they"
        " are taken as they are, as evals.sample writes them normalised",
    )
