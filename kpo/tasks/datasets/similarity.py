"""Problems that are the same, or nearly, however they are spelled.

`normalised` is what two spellings of one problem share: it leaves out what is only type-setting and
keeps every sign of the mathematics. `Overlap` finds a benchmark's problems in other texts, also
within longer ones and with some words changed, by the n-grams that they share.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

NGRAM = 8
"""Words in a row.

Measured on seven benchmarks: of their problems with a number changed, 96 % are found again, with a
word in twenty changed 83 %; with 13 words, as is usual for whole documents, 81 % and 59 %. None
passes for a problem of another benchmark, and of 2,000 training problems of GSM8K one does for a
test problem: the same with other numbers. With 5 words another one does.
"""

SHARE = 0.5
"""Of a benchmark problem's n-grams, those that must be in a text for it to count as the problem."""

_COMMANDS = (
    (re.compile(r"\\n(?![a-z])"), " "),  # a line's end that was escaped once too often; not \neq
    (re.compile(r"\\[dt](?=frac|binom)"), r"\\"),
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![A-Za-z])"), ""),
    (re.compile(r"\\(?:math(?:rm|it|bf)|text(?:rm|it|bf)?|operatorname|mbox|rm)\s*(?=\{)"), ""),
    (re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])"), " "),
    (re.compile(r"(?<!\\)\\[()\[\]]|\\(?=[%$&#])"), " "),
)
_ONE_IN_BRACES = re.compile(r"(?<=[\^_])\{(\w)\}")
_IDLE_BLANK = re.compile(r"(?<!\w) | (?!\w)")  # it matters between two words or numbers
_SIGNS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2212": "-"})
_WORD = re.compile(r"[\u3040-\u9fff]|[^\W\d_]+|\d+|[-+*/=<>^%]")


def normalised(text: str) -> str:
    """The text without case, type-setting, blanks that mean nothing, and the last full stop."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    if "\\" in text:
        for pattern, replacement in _COMMANDS:
            text = pattern.sub(replacement, text)
    text = text.casefold().replace("$", " ").replace("~", " ")
    text = _ONE_IN_BRACES.sub(r"\1", text)
    return _IDLE_BLANK.sub("", " ".join(text.split())).strip(" .:?")


@dataclass(frozen=True)
class Match:
    """A benchmark's problem that a text holds; `share` of its n-grams were found."""

    benchmark: str
    problem: str
    share: float


class Overlap:
    """Finds problems of benchmarks in texts. A problem shorter than an n-gram must be the text."""

    def __init__(self, problems: Iterable[tuple[str, str, str]]) -> None:
        """`problems` are (benchmark, id, text)."""
        self._problems: list[tuple[str, str, int]] = []  # benchmark, id, number of n-grams
        self._whole: dict[str, Match] = {}
        self._holders: dict[str, list[int]] = {}
        for place, (benchmark, name, text) in enumerate(problems):
            grams = _grams(plain := normalised(text))
            self._problems.append((benchmark, name, len(grams)))
            self._whole.setdefault(plain, Match(benchmark, name, 1.0))
            for gram in grams:
                self._holders.setdefault(gram, []).append(place)

    def find(self, plain: str) -> Match | None:
        """The problem of which a normalised text holds most, if it holds enough of it."""
        if plain in self._whole:
            return self._whole[plain]
        found = Counter(place for gram in _grams(plain) for place in self._holders.get(gram, ()))
        shares = ((count / self._problems[i][2], -i) for i, count in found.items())
        share, order = max(shares, default=(0.0, 0))  # of equal ones the first
        if share < SHARE:
            return None
        benchmark, name, _ = self._problems[-order]
        return Match(benchmark, name, round(share, 3))


def _grams(plain: str) -> set[str]:
    """What a normalised text holds of NGRAM words, numbers and signs of operations in a row."""
    words = _WORD.findall(plain)
    return {" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}
