"""The answer that counts in a response, by the rule of the prompt protocol."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

_TOKEN = re.compile(r"\\\\?(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BOXES = ("\\boxed", "\\fbox")
_HASHES = re.compile(r"(?<!#)####(?!#)")
_ANSWER = re.compile(
    r"\A(?:the\s+)?(?:final\s+)?answer\b[\s*_`]*(?:is\b|:|=)?[\s*_`:]*", re.IGNORECASE
)
_MATHEMATICS = (
    re.compile(  # a number, sign, bracket, macro, dollar, letter or `x =`; not `2. Check`
        r"(?!\d+[.)]\s+[A-Za-z])"
        r"(?:[-+\d.$(\[{|\\\u221a\u03c0\u2212\u20ac\u00a3]|[A-Za-z](?:_\S+|\(\w\))?\s*=|[A-Za-z]\Z)"
    )
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
MAX_WORDS = 3  # of prose in a line that may be an answer: `12 square inches`


def extract_boxed(text: str) -> str | None:
    """Content of the last balanced `\\boxed{...}` or `\\fbox{...}`, or None.

    Of nested boxes the outermost counts, with the boxes inside it opened: the answer of
    `\\boxed{\\boxed{5}}` is `5`. Escaped braces do not count. One pass, linear in the text.
    """
    span = _last_box(text)
    if span is None:
        return None
    return _open_boxes(text[slice(*span)]).strip()


def extract_boxed_or_hashes(text: str) -> str | None:
    """What `extract_boxed` finds, or else what stands behind `####`, or None.

    Of several lines behind `####` the last that begins like mathematics counts, else the last one
    that no text follows, else the last: `####` is also how Markdown writes a heading. The line
    counts without Markdown's marks and without "Answer:"; where it says no more than that, the
    next line does.
    """
    boxed = extract_boxed(text)
    if boxed is not None:
        return boxed
    parts = _HASHES.split(text)[1:]
    found = [(_behind_hashes(part), _follows_text(part)) for part in parts]
    found = [(line, body) for line, body in found if line] or found
    if not found:
        return None
    answers = [line for line, _ in found if _like_mathematics(line)]
    answers = answers or [line for line, body in found if not body] or [found[-1][0]]
    return answers[-1]


def _behind_hashes(part: str) -> str:
    """The first line that says something, without Markdown's marks and "Answer:"."""
    for line in part.splitlines():
        bare = line.strip().strip("#").strip()
        bare = _ANSWER.sub("", bare.strip("*_`~ ")).strip("*_`~ ")
        if bare:
            return bare
    return ""


def _like_mathematics(line: str) -> bool:
    """Whether a line begins like an answer and does not go on like a sentence."""
    return bool(_MATHEMATICS.match(line)) and len(_PROSE.findall(line)) <= MAX_WORDS


def _follows_text(part: str) -> bool:
    """Whether there is more than one line: the first is then more likely a heading."""
    return len(part.strip().splitlines()) > 1


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


def _last_box(text: str) -> tuple[int, int] | None:
    first = min((at for name in _BOXES if (at := text.find(name)) >= 0), default=None)
    if first is None:
        return None
    depth = 0
    open_boxes: list[tuple[int, int]] = []  # (depth outside the box, start of its content)
    last: tuple[int, int] | None = None
    for token in _TOKEN.finditer(text, first):
        is_box = len(token[0]) > 2
        if is_box:
            open_boxes.append((depth, token.end()))
        if is_box or token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if open_boxes and open_boxes[-1][0] == depth:
                last = (open_boxes.pop()[1], token.start())
    return last


def _open_boxes(content: str) -> str:
    """Replace every `\\boxed{x}` inside by `x`."""
    if not any(name in content for name in _BOXES):
        return content
    parts: list[str] = []
    closes_box: list[bool] = []
    end = 0
    for token in _TOKEN.finditer(content):
        is_box = len(token[0]) > 2
        closing = token[0] == "}" and bool(closes_box) and closes_box.pop()
        if token[0] == "{" or is_box:
            closes_box.append(is_box)
        if is_box or closing:
            parts.append(content[end : token.start()])
            end = token.end()
    return "".join([*parts, content[end:]])
