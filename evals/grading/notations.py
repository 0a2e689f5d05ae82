"""Kinds of answers that are compared as they are written: words, times, numbers in a base.

`words`, `clock` and `based` read one text; the others say whether gold and answer are the same.
Each gives None where a text is not of its kind.
"""

from __future__ import annotations

import re

from kpo.evals.grading.structure import chain, squeeze

_CHOICE = re.compile(r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer)?\s*\(?([A-Z])(?:[).:]\s*|\s*\Z)([^A-Z]*)")
_BASED = re.compile(
    r"\(?(-?[0-9A-F]+(?:\.[0-9A-F]+)?)\)?_\{\(?(?:\\text\{)?(?:base)?\}?(\w+)\}?\)?\}"
)
_IN_WORDS = re.compile(
    r"\s*\\text\{\s*\(?\s*(?:in )?base[ -]?(\w+)\s*\)?\s*\}|\s*\\text\{\s*\(?in base\s*\}\s*(\w+)"
)
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
_BASES = {word: str(n) for n, word in enumerate(_NUMBERS.split())} | {"sixteen": "16"}
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?(am|pm|)")


def words(text: str) -> str | None:
    """Plain words: `\\text{right triangle}`, `(C)`, `East`, without brackets, points, articles."""
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    plain = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])|[().,;:~\"\u201c\u201d`\s]+", " ", plain).strip()
    plain = re.sub(r"^(?:the|an|a) (?=\w\w)", "", plain, flags=re.IGNORECASE)
    if not re.fullmatch(r"[^\W\d_]+(?:[ ']+[^\W\d_]+)*", plain):
        return None
    return plain if len(plain) == 1 else plain.casefold()


def clock(text: str) -> tuple[str, str, str] | None:
    """Hours, minutes, and am, pm or nothing."""
    plain = re.sub(r"\\text|[{}.\s]", "", text).lower()
    found = _CLOCK.fullmatch(plain)
    if found is None or not (found[2] or found[3]):
        return None
    return found[1].lstrip("0"), found[2] or "00", found[3]


def based(text: str) -> tuple[str, str] | None:
    """Digits and base of `204_{5}`; of `204 \\text{ (base five)}` too."""
    text = _IN_WORDS.sub(lambda m: f"_{{{m[1] or m[2]}}}", text)
    found = _BASED.fullmatch(text.replace(" ", ""))
    if found is None:
        return None
    base = _BASES.get(found[2], found[2])
    return (found[1].lstrip("0") or "0", base) if base.isdigit() else None


def same_words(gold: str, answer: str) -> bool | None:
    """Words by their letters, case aside; the letter of a choice with what it stands for."""
    wanted, given = words(gold), words(answer)
    if wanted is None:
        return None
    if "\\text" not in gold:  # may be a product of letters
        is_word = len(wanted) == 1 or max(map(len, wanted.split())) > 3
        return (given == wanted and is_word) or None
    if len(wanted) > 1:
        return given == wanted
    choice = _CHOICE.fullmatch(re.sub(r"\\text\{([^{}]*)\}", r"\1", answer))
    return choice is not None and choice[1] == wanted


def same_clock(gold: str, answer: str) -> bool | None:
    """Hours and minutes; a.m. or p.m. may be left out."""
    wanted, given = clock(gold), clock(answer)
    if wanted is None or given is None:
        return None
    return wanted[:2] == given[:2] and (wanted[2] == given[2] or "" in (wanted[2], given[2]))


def same_based(gold: str, answer: str) -> bool | None:
    """A base may be left out where the gold has one, but no other may stand there."""
    wanted, given = based(gold), based(chain(answer)[-1])
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
