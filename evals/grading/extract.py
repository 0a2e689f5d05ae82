"""The answer that counts in a response, by the rule of the prompt protocol."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

_TOKEN = re.compile(r"\\\\?(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BOX = re.compile(r"\\(?:boxed|fbox)")
_HASHES = re.compile(r"(?<!#)####(?!#)")
_ANSWER = re.compile(
    r"\A(?:the\s+)?(?:final\s+)?answer\b[\s*_`]*(?:is\b|:|=)?[\s*_`:]*", re.IGNORECASE
)
_MATHEMATICS = re.compile(  # a number, sign, bracket, macro, letter or `x =`; not `2. Check`
    r"(?!\d+[.)]\s+[A-Za-z])"
    r"(?:[-+\d.$(\[{|\\\u221a\u03c0\u2212\u20ac\u00a3]|[A-Za-z](?:_\S+|\(\w\))?\s*=|[A-Za-z]\Z)"
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
MAX_WORDS = 3  # of prose in a line that may be an answer: `12 square inches`


def extract_boxed(text: str) -> str | None:
    """Content of the last balanced `\\boxed{...}` or `\\fbox{...}`, or None.

    Of nested boxes the outermost counts, with the boxes inside it opened: the answer of
    `\\boxed{\\boxed{5}}` is `5`. Escaped braces do not count. One pass, linear in the text.
    """
    boxes = _closed_boxes(text)
    if not boxes:
        return None
    _, start, end = boxes[-1]
    inside = [box for box in boxes[:-1] if box[0] >= start]
    cuts = sorted([box[:2] for box in inside] + [(box[2], box[2] + 1) for box in inside])
    starts, ends = [start, *(cut[1] for cut in cuts)], [*(cut[0] for cut in cuts), end]
    return "".join(text[a:b] for a, b in zip(starts, ends, strict=True)).strip()


def extract_boxed_or_hashes(text: str) -> str | None:
    """What `extract_boxed` finds, or else what stands behind `####`, or None.

    Of several lines behind `####` the last that begins like mathematics counts, else the last one
    that no text follows, else the last: `####` is also how Markdown writes a heading. The line
    counts without Markdown's marks and without "Answer:"; where it says no more than that, the
    next line does.
    """
    if (boxed := extract_boxed(text)) is not None:
        return boxed
    parts = _HASHES.split(text)[1:]
    found = [(_behind_hashes(part), len(part.strip().splitlines()) > 1) for part in parts]
    found = [(line, has_body) for line, has_body in found if line] or found
    lines = [line for line, _ in found]
    answers = [line for line in lines if _like_mathematics(line)]
    answers = answers or [line for line, has_body in found if not has_body] or lines
    return answers[-1] if answers else None


def _behind_hashes(part: str) -> str:
    """The first line that says something, without Markdown's marks and "Answer:"."""
    for line in part.splitlines():
        bare = line.strip().strip("#").strip().strip("*_`~ ")
        if bare := _ANSWER.sub("", bare).strip("*_`~ "):
            return bare
    return ""


def _like_mathematics(line: str) -> bool:
    """Whether a line begins like an answer and does not go on like a sentence."""
    return bool(_MATHEMATICS.match(line)) and len(_PROSE.findall(line)) <= MAX_WORDS


EXTRACTORS: dict[str, Callable[[str], str | None]] = {
    "boxed": extract_boxed,
    "boxed-or-hashes": extract_boxed_or_hashes,
}
"""Where a response's answer is, by the name that prompt protocols have for it."""


def answers_argument(parser: argparse.ArgumentParser) -> None:
    """Add --answers."""
    parser.add_argument(
        "--answers",
        choices=EXTRACTORS,
        default="boxed",
        help="what counts as an answer: the last box, or also the line behind the last ####"
        " where there is no box (default %(default)s)",
    )


def _closed_boxes(text: str) -> list[tuple[int, int, int]]:
    """Where each box begins, its content begins and its content ends, in order of their ends."""
    first = _BOX.search(text)
    depth = 0
    opened: list[tuple[int, int, int]] = []  # depth outside the box, and where it begins
    closed = []
    for token in _TOKEN.finditer(text, first.start()) if first else ():
        if token[0] == "}":
            depth -= 1
            if opened and opened[-1][0] == depth:
                closed.append((*opened.pop()[1:], token.start()))
        elif token[0] == "{":
            depth += 1
        elif len(token[0]) > 2:
            opened.append((depth, *token.span()))
            depth += 1
    return closed
