"""Brackets in LaTeX: where one closes, what stands outside all of them, what is only a wrapping."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate

PIECE = re.compile(r"\\begin\{\w+\}|\\end\{\w+\}|\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPENING = {"(", "[", "{", "\\{", "\\langle", "\\lfloor", "\\lceil"}
CLOSING = {")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil"}


def _depths(text: str) -> list[tuple[str, int, int]]:
    """Each piece (macro or character) with its place and the brackets open before it."""
    found, depth = [], 0
    for piece in PIECE.finditer(text):
        if piece[0] in CLOSING or piece[0].startswith("\\end{"):
            depth -= 1
        found.append((piece[0], piece.start(), depth))
        if piece[0] in _OPENING or piece[0].startswith("\\begin{"):
            depth += 1
    return found


def closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; -1 if nowhere."""
    pieces = _depths(text[start:])
    return next((start + at for _, at, depth in pieces[1:] if depth == 0), -1)


def split(text: str, separators: set[str]) -> list[str]:
    """The parts between separators (characters or macros) that stand outside all brackets."""
    parts, start = [], 0
    for piece, at, depth in _depths(text):
        if depth == 0 and piece in separators:
            parts.append(text[start:at].strip())
            start = at + len(piece)
    return [*parts, text[start:].strip()]


def in_any_order(wanted: list[str], given: list[str], same: Callable[[str, str], bool]) -> bool:
    """Whether each of the wanted parts is one of the given, which are as many."""
    left = list(given)
    for part in wanted:
        found = next((other for other in left if same(part, other)), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def bare(text: str) -> str:
    """Without braces or brackets around the whole, unless they make a pair or a set of it."""
    while True:
        text = text.strip()
        if text[:1] not in ("{", "(") or closing(text, 0) != len(text) - 1:
            return text
        if text[0] == "(" and split(text[1:-1], {",", ";"})[1:]:
            return text
        text = text[1:-1]


def nesting(text: str) -> int:
    """How deep round, square and curly brackets nest, escaped ones included."""
    steps = (1 if bracket in "([{" else -1 for bracket in re.findall(r"[()\[\]{}]", text))
    return max(accumulate(steps, lambda depth, step: max(depth + step, 0), initial=0))
