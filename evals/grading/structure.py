r"""What a respelled answer is made of: lists, pairs, matrices, chains of `=`, ratios.

Each function takes text and gives its parts as text, or None (or the whole) where the text is not
of that kind; nothing here knows what a term means.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from kpo.evals.grading.brackets import bare, closing, split
from kpo.evals.grading.respell import ungrouped

RELATIONS = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "\\ne": "\\ne"}  # turned round
_EQUALS = {"=", "\\approx", "\\in", "\\equiv"}
_NAME = re.compile(
    r"[A-Za-z]{1,4}|(?:\\[A-Za-z]+\s*)?(?:\{?[A-Za-z]*\}?)(?:_\{[^{}]*\})?(?:\^\{(?:\\prime)+\}|\^\{-1\})?"
    r"(?:\([^()=]*\))?|\\angle.*|m\\angle.*|\|[A-Za-z]+\||\\frac\{d[^{}]*\}\{d[^{}]*\}|\([^()\d]*\)"
    r"|\\text\{[^{}]*\}(?:_\{[^{}]*\})?|\\(?:overline|bar|hat|dot|ddot)\s*\{?[A-Za-z]+\}?"
)
_MATRIX = re.compile(r"(.*?)\\begin\{pmatrix\}(.*)\\end\{pmatrix\}\s*", re.DOTALL)
_CASES = re.compile(r"\\begin\{cases\}(.*)\\end\{cases\}", re.DOTALL)
_CONGRUENCE = re.compile(
    r"(?:.*\\equiv)?(.*?)(?:\\p?mod|\\bmod|\(\\text\{\s*mod\s*\}|\(\s*mod|\\text\{\s*\(?mod\s*\}?)\s*"
    r"\{?([^{}()]+)\}?\s*\)?"
)


class Pair(NamedTuple):
    """A tuple or an interval: its brackets and what stands between its commas."""

    brackets: str
    parts: list[str]


def items(text: str) -> list[str]:
    r"""Members of a list or set, `\pm` written out; a single thing is a list of one."""
    text = bare(text)
    inner = text[2:-2] if is_braced(text) else text
    clauses = split(inner, {";", "\\lor", "\\land"})
    clauses = [ungrouped(clause) for clause in clauses] if len(clauses) > 1 else clauses
    parts = [part for clause in clauses for part in split(clause, {","}) if part]
    return [signed for part in parts for signed in _signs(part)]


def is_braced(text: str) -> bool:
    r"""Whether it is a set in braces, `\{...\}`."""
    return text.startswith("\\{") and closing(text, 0) == len(text) - 2


def _signs(text: str) -> list[str]:
    r"""`\pm` as two texts, all signs of one text together."""
    if not re.search(r"\\(?:pm|mp)(?![A-Za-z])", text):
        return [text]
    both = []
    for plus, minus in ("+-", "-+"):
        one = re.sub(r"\\pm(?![A-Za-z])", plus, text)
        one = re.sub(r"\\mp(?![A-Za-z])", minus, one)
        both.append(re.sub(r"(^|[=(,])\s*\+", r"\1 ", one).strip())
    return both


def is_ordered(parts: list[str]) -> bool:
    """Whether a list's order counts: with dots in it, or a repeated number among others."""
    distinct = {squeeze(part) for part in parts}
    return "\\dots" in parts or 1 < len(distinct) < len(parts)


def distinct(parts: list[str]) -> list[str]:
    """`-2, -2` is -2 once, and so is `a = -2, b = -2`."""
    return parts[:1] if len({squeeze(chain(part)[-1]) for part in parts}) == 1 else parts


def pair(text: str) -> Pair | None:
    r"""The parts of `(a, b)`, `[a, b)`, `\langle a, b, c\rangle`."""
    text = text.replace("\\langle", "(").replace("\\rangle", ")").strip()
    text = re.sub(r"\A[A-Z](?=\()", "", text)  # P(1, 2)
    if text[:1] not in ("(", "[") or closing(text, 0) != len(text) - 1:
        return None
    parts = split(text[1:-1], {",", ";"})
    return Pair(text[0] + text[-1], parts) if parts[1:] else None


def chain(text: str) -> list[str]:
    """Parts between equality signs."""
    return split(text, _EQUALS)


def signed(text: str, allowed: Collection[str]) -> tuple[list[str], list[str]] | None:
    r"""Terms and signs of a chain like `1 < x \le 2`."""
    signs = [found for found in re.findall(r"\\[A-Za-z]+|[<>=]", text) if found in allowed]
    parts = split(text, set(allowed))
    return (parts, signs) if signs and len(parts) == len(signs) + 1 else None


def relations(text: str) -> tuple[list[str], list[str]] | None:
    """`signed`, the smaller side first."""
    found = signed(text, RELATIONS)
    if found and {">", "\\ge"} & {*found[1]}:
        return found[0][::-1], [RELATIONS[sign] for sign in found[1][::-1]]
    return found


def is_name(text: str) -> bool:
    r"""Whether it names what follows: `x`, `f(x)`, `\theta_{1}`, `\angle ABC`, `(r, \theta)`."""
    return bool(text) and _NAME.fullmatch(text) is not None


def value(text: str) -> str:
    """What stands behind a name and `=`, else the text."""
    parts = chain(text)
    return parts[-1] if len(parts) > 1 and is_name(parts[0]) else text


def rows(text: str) -> tuple[str, list[list[str]]] | None:
    """Factor before a matrix ("" for none) and its cells."""
    if text[:1] in ("[", "(") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    found = _MATRIX.fullmatch(text)
    if found is None or "\\begin" in found[1] + found[2] or "=" in found[1]:
        return None
    factor = found[1].strip().removesuffix("\\cdot").strip()
    return factor, [split(row, {"&"}) for row in split(found[2], {"\\\\"}) if row]


def cases(text: str) -> list[str] | None:
    """Lines of a definition by cases, words like `if` dropped, as pairs of term and condition."""
    found = _CASES.fullmatch(text)
    if found is None:
        return None
    lines = [line for line in split(found[1], {"\\\\"}) if line]
    bare_lines = [re.sub(r"\\text\{[^{}]*\}|\b(?:if|for|when)\b", " ", line) for line in lines]
    return [f"({', '.join(p.strip(' ,') for p in split(line, {'&'}))})" for line in bare_lines]


def congruence(text: str) -> tuple[str, str] | None:
    r"""Residue and modulus of `n \equiv 3 \pmod{7}`."""
    found = _CONGRUENCE.fullmatch(text)
    return (found[1].strip(), found[2].strip()) if found else None


def ratio(text: str) -> list[str] | None:
    """Parts of `1:2:3`, or of `1 \\text{ to } 2`."""
    parts = split(re.sub(r"(?<=\d)\s*(?:\\text\{\s*to\s*\}|\bto\b)\s*(?=\d)", ":", text), {":"})
    return parts if len(parts) > 1 and all(parts) else None


def squeeze(text: str) -> str:
    """The text without blanks, except those that end a macro's name or a number."""
    kept = r"(\\[A-Za-z]+ (?=[A-Za-z])|\d (?=\d))|\s"
    return re.sub(kept, lambda found: found[1] or "", text)
