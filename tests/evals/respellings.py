r"""How the grader takes other spellings of real golds, and other answers: two rates.

    python -m tests.evals.respellings ../shared/benchmarks/*.jsonl [--sample 50 --seed 0]

`RESPELLINGS` write a gold in another way that means the same, `CHANGES` make another answer of it.
All of the first must be accepted and none of the second; the command lists what is not so and ends
with exit code 1 if there is any. Each of both is a pure function of the gold that gives the gold
back where it does not apply. What is right although it looks changed stands in
`EXCEPTIONS`, with the reason.
"""

# ruff: noqa: RUF001 - some spellings differ only in characters that look alike

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from kpo.evals.grading.golds import normalise_gold
from kpo.evals.grading.grader import Grader
from kpo.tasks.datasets.sources import SOURCES

Spelling = Callable[[str], str]
_WORDS = re.compile(r"\\[A-Za-z]+\s*|\\.|[A-Za-z]{2,}")


def _replaced(*pairs: tuple[str, str]) -> Spelling:
    rules = [(re.compile(pattern), new) for pattern, new in pairs]

    def respell(gold: str) -> str:
        for pattern, new in rules:
            gold = pattern.sub(new, gold)
        return gold

    return respell


def _brackets(left: str, right: str) -> Spelling:
    """Sizes before round and square brackets, where they come in pairs and have none yet."""

    def respell(gold: str) -> str:
        plain = re.sub(r"\\(?:left|right)\b", "", gold)
        if any(plain.count(a) != plain.count(b) for a, b in ("()", "[]")) or r"\sqrt[" in plain:
            return gold
        return re.sub(
            r"(?<!\\)[\[(]", rf"\\{left}\g<0>", re.sub(r"(?<!\\)[\])]", rf"\\{right}\g<0>", plain)
        )

    return respell


def _if_whole(pattern: str, new: str) -> Spelling:
    """Only golds that match as a whole."""
    return lambda gold: re.sub(rf"\A(?:{pattern})\Z", new, gold)


def _grouped(separator: str) -> Spelling:
    def respell(gold: str) -> str:
        return (
            f"{int(gold):,}".replace(",", separator) if re.fullmatch(r"-?\d{4,9}", gold) else gold
        )

    return respell


_NUMBER = r"-?\d+(?:\.\d+)?"
_NO_LIST = r"(?!.*[,;])"
RESPELLINGS: dict[str, Spelling] = {
    "blanks around operators": _replaced((r"(?<=[\w})])([-+=])(?=[\w\\({])", r" \1 ")),
    "no blanks": _replaced((r"(?<![A-Za-z]) | (?![A-Za-z])", "")),
    "blanks inside braces": _replaced(
        (r"(?<!begin)(?<!end)(?<!mbox)(?<!text)(?<!\\)\{(?!p?matrix|cases)", "{ ")
    ),
    "thin spaces": _replaced((r"(?<=[\w})]) (?=[\w\\({])(?!\d{3})", r"\\,")),
    "wide spaces": _replaced((r", ?(?=-|\\[a-z]|[(a-z])", r",\\quad ")),
    "spaces around": lambda gold: f"  {gold} ",
    "a new line": lambda gold: f"\n{gold}\n",
    r"\left \right": _brackets("left", "right"),
    r"\bigl \bigr": _brackets("bigl", "bigr"),
    r"\Big": _brackets("Big", "Big"),
    r"\biggl \biggr": _brackets("biggl", "biggr"),
    "no sizes": _replaced((r"\\(?:left|right)(?![A-Za-z])", "")),
    r"\dfrac": _replaced((r"\\[dt]?frac(?![A-Za-z])", r"\\dfrac")),
    r"\tfrac": _replaced((r"\\[dt]?frac(?![A-Za-z])", r"\\tfrac")),
    r"\cfrac": _replaced((r"\\[dt]?frac(?![A-Za-z])", r"\\cfrac")),
    "fractions without braces": _replaced((r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2")),
    "fractions with a slash": _if_whole(r"(-?)\\frac\{(\d+)\}\{(\d+)\}", r"\1\2/\3"),
    "braces around exponents": _replaced((r"([\^_])(\w)", r"\1{\2}")),
    "no braces around exponents": _replaced((r"([\^_])\{(\w)\}", r"\1\2")),
    "roots without braces": _replaced((r"\\sqrt\{(\d)\}", r"\\sqrt\1")),
    "braces around the whole": lambda gold: f"{{{gold}}}",
    "dollars": lambda gold: f"${gold}$" if "$" not in gold else gold,
    r"\( \)": lambda gold: rf"\({gold}\)",
    r"\displaystyle": lambda gold: rf"\displaystyle {gold}",
    "a full stop": lambda gold: f"{gold}.",
    r"\textbf words": _replaced((r"\\(?:text|mbox)\{", r"\\textbf{")),
    r"\mathrm words": _replaced((r"\\(?:text|mbox)\{", r"\\mathrm{")),
    r"\textnormal words": _replaced((r"\\(?:text|mbox)\{", r"\\textnormal{")),
    r"\mathbf numbers": _if_whole(rf"({_NUMBER})", r"\\mathbf{\1}"),
    r"\bf numbers": _if_whole(rf"({_NUMBER})", r"{\\bf \1}"),
    r"\text numbers": _if_whole(rf"({_NUMBER})", r"\\text{\1}"),
    r"upright e": _replaced((r"(?<![A-Za-z\\{.\d])e(?=\^)", r"\\mathrm{e}")),
    r"upright i": _replaced((r"(?<=[\d} ])i\b(?![^{]*\})", r"\\mathrm{i}")),
    r"\cdot": _replaced((r"\\times(?![A-Za-z])", r"\\cdot ")),
    r"\times": _replaced((r"\\cdot(?![A-Za-z])", r"\\times ")),
    r"\leq \geq": _replaced((r"\\(l|g)e(?:q|qslant)?(?![A-Za-z])", r"\\\1eq ")),
    r"\leqslant": _replaced((r"\\(l|g)e(?:q|qslant)?(?![A-Za-z])", r"\\\1eqslant ")),
    "unicode": _replaced(
        (r"\\pi(?![A-Za-z])\s*", "π"),
        (r"\\sqrt\{(\d+)\}", r"√\1"),
        (r"\\infty(?![A-Za-z])\s*", "∞"),
        (r"\\cup(?![A-Za-z])\s*", "∪"),
        (r"\\pm(?![A-Za-z])\s*", "±"),
        (r"\^\{?\\circ\}?", "°"),
        (r"\^(?:\{2\}|2(?!\d))", "²"),
        (r"-", "−"),
    ),
    "degree sign": _replaced((r"\^\{?\\circ\}?", r"\\degree ")),
    "no degree sign": _replaced((r"\^\{?\\circ\}?", "")),
    "thousands: comma": _grouped(","),
    "thousands: {,}": _grouped("{,}"),
    r"thousands: \,": _grouped(r"\,"),
    r"thousands: ,\!": _grouped(r",\!"),
    "thousands: blank": _grouped(" "),
    "decimals": _if_whole(r"(-?\d{1,8})", r"\1.0"),
    "a plus sign": _if_whole(r"([1-9]\d*)", r"+\1"),
    "unit: word": _if_whole(rf"({_NUMBER})", r"\1 \\text{ units}"),
    "unit: cm": _if_whole(rf"({_NUMBER})", r"\1\\,\\mathrm{cm}"),
    "unit: km/s": _if_whole(rf"({_NUMBER})", r"\1 \\mathrm{~km} / \\mathrm{s}"),
    "unit: square": _if_whole(rf"({_NUMBER})", r"\1\\text{ m}^2"),
    "unit: fraction": _if_whole(rf"({_NUMBER})", r"\1\\,\\frac{\\text{m}}{\\text{s}}"),
    "unit: left out": _replaced(
        (r"\s*\\(?:text|mbox)\{\s*(?:cm|inches|degrees|cents)\}(?:\^2)?\Z", "")
    ),
    "money": _if_whole(r"(\d+(?:\.\d+)?)", r"\\$\1"),
    "money: left out": _replaced((r"\A\\\$", "")),
    "scientific": _replaced((r"\A(-?[\d.]+)e(-?\d+)\Z", r"\1 \\times 10^{\2}")),
    "matrix: brackets": _replaced((r"\{pmatrix\}", "{bmatrix}")),
    "matrix: row distance": _replaced((r"\\\\(?= )", r"\\\\[4pt]")),
    "choice without brackets": _if_whole(r"\\text\{\(([A-Z])\)\}", r"\\textbf{\1.}"),
    "list in a set": _if_whole(rf"({_NUMBER}(?:, ?{_NUMBER})+)", r"\\{\1\\}"),
}


def _letters(gold: str) -> list[re.Match[str]]:
    """Letters that stand for something: not in macros, words, units, e, i, d."""
    names = re.compile(r"\\(?:text|mbox|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|([A-Za-z]+)")
    return [m for m in names.finditer(gold) if m[1] and len(m[1]) == 1 and m[1] not in "eid"]


def _case(gold: str) -> str:
    """The case of one letter: of all its places, so that it is another letter."""
    found = _letters(gold)
    if not found or r"\angle" in gold:
        return gold
    letter = found[0][0]
    for m in reversed([m for m in found if m[0] == letter]):
        gold = gold[: m.start()] + letter.swapcase() + gold[m.end() :]
    return gold


def _digit(place: int) -> Spelling:
    def change(gold: str) -> str:
        digits = list(re.finditer(r"\d", gold))
        if not digits:
            return gold
        at = digits[place].start()
        return gold[:at] + str((int(gold[at]) + 1) % 10) + gold[at + 1 :]

    return change


def _sign(gold: str) -> str:
    """The sign before the whole, or of its first term."""
    if gold == "0" or re.search(
        r"^\\text|^\(|^\[|^\\\{|^\\begin|^[A-Za-z](?:_\{.*?\}|\(.*?\))? ?=|[,;]", gold
    ):
        return gold
    return gold[1:].strip() if gold.startswith("-") else f"-{gold}"


def _inner_sign(gold: str) -> str:
    """The first + or - between two terms turned round."""
    found = re.search(r"(?<=[\w})])\s*([-+])", gold)
    if found is None:
        return gold
    return gold[: found.start(1)] + "+-"[found[1] == "+"] + gold[found.end(1) :]


def _member_sign(gold: str) -> str:
    """The sign of the first number in a list, tuple or matrix."""
    found = re.search(r"(?:\A|(?<=[(\[{,&} ]))-?(?=[1-9])", gold)
    if found is None or not re.match(r"[(\[]|\\\{|\\left|\\begin|[-\d]+,", gold):
        return gold
    sign = "" if found[0] else "-"
    return gold[: found.start()] + sign + gold[found.end() :]


def _swapped(gold: str) -> str:
    """The first two parts of a pair or tuple exchanged."""
    found = re.match(r"(\\left)?([(\[])([^(),\[\]]+),([^(),\[\]]+)(.*)\Z", gold)
    if found is None or found[3].strip() == found[4].strip() or "(" in found[5]:
        return gold
    return f"{found[1] or ''}{found[2]}{found[4]},{found[3]}{found[5]}"


def _one_less(gold: str) -> str:
    return re.sub(rf"\A({_NUMBER}),(?! ?\1\Z).*\Z", r"\1", gold)


CHANGES: dict[str, Spelling] = {
    "sign": _sign,
    "inner sign": _inner_sign,
    "a member's sign": _member_sign,
    "first digit": _digit(0),
    "last digit": _digit(-1),
    "case": _case,
    "base": _replaced((r"(?<=\d)_\{?([5-9])\}?\Z", r"_{1\1}")),
    "order": _swapped,
    "closed for open": _if_whole(r"\(([^()\[\]]*\\infty[^()\[\]]*)\)", r"[\1]"),
    "a member less": _one_less,
    "a member more": _if_whole(rf"({_NUMBER}(?:, ?{_NUMBER})+)", r"\1, 999"),
    "not equal": _if_whole(rf"({_NUMBER})", r"\\neq \1"),
    "at least": _if_whole(rf"({_NUMBER})", r"x \\ge \1"),
    "a letter behind": _if_whole(rf"(?!0\Z)({_NUMBER})", r"\1x"),
    "squared": _if_whole(r"(\d*[2-9])", r"\1^2"),
    "tenfold": _if_whole(r"(-?\d*[1-9])", r"\g<1>0"),
    "another word": _if_whole(r"\\text\{([A-Za-z]{3,})\}", r"\\text{\1s not}"),
    "another choice": _if_whole(r"\\text\{\(([A-D])\)\}", r"\\text{(E)}"),
    "numerator for denominator": _if_whole(r"(-?)\\frac\{(\d+)\}\{(\d+)\}", r"\1\\frac{\3}{\2}"),
}


EXCEPTIONS = {
    ("case", r"c x^{-2}-\frac{\cos (2 x)}{2 x^{2}}"): "a constant of integration may be c or C",
}


class Case(NamedTuple):
    """One text to be graded against a gold."""

    kind: str
    gold: str
    answer: str
    right: bool


def cases(golds: Iterable[str]) -> list[Case]:
    """Every respelling and change of every gold that alters its text."""
    found = []
    for gold in golds:
        for right, kinds in ((True, RESPELLINGS), (False, CHANGES)):
            for kind, function in kinds.items():
                answer = function(gold)
                if answer != gold and (kind, gold) not in EXCEPTIONS:
                    found.append(Case(kind, gold, answer, right))
    return found


def read_golds(paths: Sequence[Path]) -> list[str]:
    """Distinct golds of JSONL files of problems, as graded; a file's name is its benchmark's."""
    golds: dict[str, None] = {}
    for path in paths:
        normaliser = SOURCES[path.stem].normaliser if path.stem in SOURCES else None
        for line in path.read_text(encoding="utf-8").splitlines():
            golds[normalise_gold(normaliser, json.loads(line)["answer"])] = None
    return list(golds)


def misjudged(found: Sequence[Case], workers: int = 2) -> list[Case]:
    """Cases whose verdict is wrong."""
    with Grader(workers=workers, timeout_s=30) as grader:
        grades = grader.grade([(c.gold, f"\\boxed{{{c.answer}}}") for c in found])
    return [c for c, g in zip(found, grades, strict=True) if g.correct != c.right]


def rates(found: Sequence[Case], wrong: Sequence[Case]) -> str:
    """Both rates in a line each."""
    lines = []
    for right, name in ((True, "respellings accepted"), (False, "changes refused")):
        total = sum(c.right == right for c in found)
        off = sum(c.right == right for c in wrong)
        lines.append(f"{name}: {total - off} of {total} ({(total - off) / max(total, 1):.2%})")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.evals.respellings", description=__doc__)
    parser.add_argument(
        "problems", type=Path, nargs="+", help="JSONL files with an `answer` a line"
    )
    parser.add_argument("--sample", type=int, help="golds, drawn with --seed; default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    golds = read_golds(options.problems)
    if options.sample is not None:
        golds = random.Random(options.seed).sample(golds, min(options.sample, len(golds)))
    found = cases(golds)
    wrong = misjudged(found, options.workers)
    for case in wrong:
        verdict = "refused" if case.right else "accepted"
        print(f"{verdict} ({case.kind}): {case.gold!r} as {case.answer!r}")
    print(dict(Counter(case.kind for case in wrong)))
    print(f"{len(golds)} golds\n{rates(found, wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
