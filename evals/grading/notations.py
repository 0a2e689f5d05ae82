"""Kinds of answers that are compared as they are written: words, times, numbers in a base.

Each function says whether gold and answer are the same, or None if they are not of its kind.
"""

from __future__ import annotations

import re

from evals.grading import structure
from evals.grading.structure import squeeze

_CHOICE = re.compile(r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer)?\s*\(?([A-Z])(?:[).:]\s*|\s*\Z)([^A-Z]*)")


def same_words(gold: str, answer: str) -> bool | None:
    """Words by their letters, case aside; the letter of a choice with what it stands for."""
    wanted, given = structure.words(gold), structure.words(answer)
    if wanted is None:
        return None
    if "\\text" not in gold and len(wanted) > 1:  # may be a product of letters
        is_word = max(map(len, wanted.split())) > 3
        return True if given == wanted and is_word else None
    if len(wanted) == 1 and "\\text" in gold:
        plain = re.sub(r"\\text\{([^{}]*)\}", r"\1", answer)
        choice = _CHOICE.fullmatch(plain)
        return choice is not None and choice[1] == wanted
    if len(wanted) == 1:
        return True if given == wanted else None
    return given == wanted


def same_clock(gold: str, answer: str) -> bool | None:
    """Hours and minutes; a.m. or p.m. may be left out."""
    wanted, given = structure.clock(gold), structure.clock(answer)
    if wanted is None or given is None:
        return None
    return wanted[:2] == given[:2] and (wanted[2] == given[2] or "" in (wanted[2], given[2]))


def same_based(gold: str, answer: str) -> bool | None:
    """A base may be left out where the gold has one, but no other may stand there."""
    wanted, given = structure.based(gold), structure.based(structure.chain(answer)[-1])
    if wanted is None and given is None:
        return None
    if wanted is not None:
        plain = re.fullmatch(r"0*(\w+)", answer)
        return wanted == given or (given is None and plain is not None and plain[1] == wanted[0])
    assert given is not None
    return given[0] == squeeze(gold) or (given[1] != "10" and _value(*given) == squeeze(gold))


def _value(digits: str, base: str) -> str:
    try:
        return str(int(digits, int(base)))
    except ValueError:
        return ""
