r"""What an answer means: is it the gold? Runs inside the grading workers.

Both are respelled (`respell`), then read as one kind of thing after another (`KINDS`): words,
a time, a number in a base, a matrix, a set of numbers, a list, a tuple, something with a name, and
at last a number with or without a unit, or a term. The first kind that either of them is decides;
what it is made of is compared by the same rules. Single terms are compared by `terms`, which
is math-verify and its parser with some care.

What is not said in the gold may be left out or put in: the name of what was asked (`x = 5`), a
unit, a percent sign. Whatever changes the value, its kind or its order makes an answer wrong, and
so does what cannot be read, unless it is the gold letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import sympy

from kpo.evals.grading import structure
from kpo.evals.grading.brackets import bare, in_any_order
from kpo.evals.grading.intervals import as_set, is_set, same_sets
from kpo.evals.grading.notations import based, clock, same_based, same_clock, same_words, words
from kpo.evals.grading.respell import clean, ungrouped
from kpo.evals.grading.structure import squeeze
from kpo.evals.grading.terms import TooLargeError, parse
from kpo.evals.grading.units import quantity, same_quantity, same_terms

__all__ = ["TooLargeError", "is_usable", "judge"]

MAX_LIST = 60  # members of the longest list that is compared in any order
_REMARK = re.compile(
    r",?\s*(?:\\forall|\\text\{\s*,?\s*(?:for (?:all|any|every|each)|where|with)\b).*\Z"
    r"|,\s*[A-Za-z]\s*\\in\s*\\mathbb\{[ZNQR]\}\s*\Z",
    re.DOTALL,
)
_RATE = re.compile(
    r"\A(?:\\frac\{d([A-Za-z])\}\{d[a-z]\}|\\dot\{?([A-Za-z])\}?|([A-Za-z])\^\{\\prime\})\Z"
)
_ABOUT = re.compile(r"\A\\approx\s*")


def judge(gold: str, answer: str) -> bool:
    """Whether an answer is the gold. Raises TooLargeError."""
    return agree(*(_REMARK.sub("", clean(text)) for text in (gold, answer)))


def is_usable(gold: str) -> bool:
    """Whether a gold can be read as mathematics or words, and is itself. Raises TooLargeError."""
    text = _REMARK.sub("", clean(gold))
    return bool(text) and _readable(text) and agree(text, text)


def agree(gold: str, answer: str) -> bool:
    """`judge` of two respelled texts."""
    gold, answer = ungrouped(bare(gold)), _ABOUT.sub("", bare(answer))
    readings = dict.fromkeys((ungrouped(answer), answer))
    return any(_agree(gold, reading) for reading in readings)


def _agree(gold: str, answer: str) -> bool:
    if squeeze(gold) == squeeze(answer) != "":
        return True
    verdicts = (kind(gold, answer) for kind in KINDS)
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _congruent(gold: str, answer: str) -> bool | None:
    wanted, given = structure.congruence(gold), structure.congruence(answer)
    if wanted is None or given is None:
        return None if wanted is given else False
    if not agree(wanted[1], given[1]):
        return False
    numbers = [parse(text) for text in (wanted[0], given[0], wanted[1])]
    if all(isinstance(number, sympy.Integer) for number in numbers):
        return bool((numbers[0] - numbers[1]) % numbers[2] == 0)
    return agree(wanted[0], given[0])


def _ratio(gold: str, answer: str) -> bool | None:
    wanted, given = (structure.ratio(structure.chain(text)[-1]) for text in (gold, answer))
    if wanted is None or given is None:
        return None
    first = wanted[0], given[0]
    return len(wanted) == len(given) and all(
        same_terms(f"({w}) \\cdot ({first[1]})", f"({g}) \\cdot ({first[0]})")
        for w, g in zip(wanted[1:], given[1:], strict=True)
    )


def _matrix(gold: str, answer: str) -> bool | None:
    """Cell by cell, a factor before it multiplied in."""
    left, right = structure.rows(gold), structure.rows(answer)
    if left is None or right is None:
        return None if left is right else _by_name(gold, answer) or False
    if [len(row) for row in left[1]] != [len(row) for row in right[1]]:
        return False
    cells = ([_times(factor, cell) for row in m for cell in row] for factor, m in (left, right))
    return _same_in_order(*cells)


def _times(factor: str, cell: str) -> str:
    if factor in ("", "+", "-"):
        return f"{factor}({cell})" if factor else cell
    return f"({factor}) \\cdot ({cell})"


def _cases(gold: str, answer: str) -> bool | None:
    wanted, given = structure.cases(gold), structure.cases(answer)
    return None if wanted is None or given is None else _same_in_any_order(wanted, given)


def _set(gold: str, answer: str) -> bool | None:
    """Sets of numbers, if one of the two can be nothing else."""
    if not (is_set(gold) or is_set(answer)):
        return None
    wanted, given = (as_set(text) or as_set(structure.value(text)) for text in (gold, answer))
    if wanted is None or given is None:
        return None if is_set(gold) and is_set(answer) else False
    return same_sets(wanted, given)


def _relation(gold: str, answer: str) -> bool | None:
    """Chains of inequalities that are no set: `f(2) < f(1) < f(4)`."""
    wanted, given = structure.relations(gold), structure.relations(answer)
    if wanted is None or given is None:
        return None if wanted is given else False
    if wanted[1] == given[1] and _same_in_order(wanted[0], given[0]):
        return True
    return None if len(wanted[1]) == len(given[1]) == 1 else False


def _list(gold: str, answer: str) -> bool | None:
    """Lists and sets: as many members, each the other's, in any order unless it counts."""
    if "\\{\\emptyset\\}" in (squeeze(gold), squeeze(answer)):
        return False
    wanted, given = structure.items(gold), structure.items(answer)
    if len(wanted) == len(given) == 1 and not (
        structure.is_braced(gold) or structure.is_braced(answer)
    ):
        return None
    if (tuple_ := structure.pair(answer)) and len(wanted) > 1 and not structure.is_braced(gold):
        given = tuple_.parts if tuple_.brackets == "()" else given
    elif (tuple_ := structure.pair(gold)) and not structure.is_braced(answer):
        return tuple_.brackets == "()" and _same_in_order(tuple_.parts, _by_names(given))
    if len(given) == 1 < len(structure.distinct(wanted)) and structure.chain(answer)[1:]:
        return _list(gold, structure.chain(answer)[-1])
    if structure.is_ordered(wanted):
        return _same_in_order(wanted, given)
    return _same_in_any_order(structure.distinct(wanted), structure.distinct(given))


def _by_names(parts: list[str]) -> list[str]:
    """`y = 3, x = 5` in the order of x, y; other names stay as they stand."""
    chains = [structure.chain(part) for part in parts]
    names = [one[0] for one in chains if len(one) == 2]
    letters = "".join(sorted(names))
    if len(names) < len(parts) or letters not in "abcdefghijklmnopqrstuvwxyz":
        return parts
    return [one[1] for one in sorted(chains)]


def _same_in_order(wanted: list[str], given: list[str]) -> bool:
    return len(wanted) == len(given) and all(map(agree, wanted, given))


def _same_in_any_order(wanted: list[str], given: list[str]) -> bool:
    return len(wanted) == len(given) <= MAX_LIST and in_any_order(wanted, given, agree)


def _pair(gold: str, answer: str) -> bool | None:
    wanted, given = structure.pair(gold), structure.pair(answer)
    if wanted is None and given is None:
        return None
    if wanted is None or given is None:
        return _by_name(gold, answer) or False
    alike = wanted.brackets == given.brackets or (
        len(wanted.parts) > 2 and {wanted.brackets, given.brackets} == {"()", "[]"}
    )
    return alike and _same_in_order(wanted.parts, given.parts)


def _by_name(gold: str, answer: str) -> bool | None:
    """Names may be left out or put in; two names must be one. Equations without one are terms."""
    wanted, given = structure.chain(gold), structure.chain(answer)
    if len(wanted) == len(given) == 1:
        return None
    if len(wanted) == 1:
        about = given[structure.is_name(given[0]) :]
        values = about if "\\approx" in answer else given[-1:]
        return any(agree(gold, value) for value in values)
    if not structure.is_name(wanted[0]):
        return None if len(given) > 1 else False
    if len(given) == 1:
        return agree(wanted[-1], answer)
    return (_one_name(wanted[0], given[0]) and agree(wanted[-1], given[-1])) or None


def _one_name(one: str, other: str) -> bool:
    """Equal names, f and f(x), and the three ways to write a derivative."""
    one, other = (_RATE.sub(r"\1\2\3'", squeeze(name)) for name in (one, other))
    if one == other or {one, other} == {"y", "f(x)"}:
        return True
    functions = [re.sub(r"\(.*\)\Z", "", name) for name in (one, other)]
    return functions[0] == functions[1] and not (one.endswith(")") and other.endswith(")"))


KINDS: tuple[Callable[[str, str], bool | None], ...] = (
    same_words,
    same_clock,
    same_based,
    _congruent,
    _ratio,
    _cases,
    _matrix,
    _set,
    _relation,
    _list,
    _pair,
    _by_name,
    same_quantity,
)
"""In this order each is asked whether gold and answer are the same; None: not of this kind."""


def _readable(text: str) -> bool:
    """Whether all that a text is made of can be read."""
    text = ungrouped(bare(text))
    if clock(text) or based(text) or structure.congruence(text) or as_set(text):
        return True
    if "\\text" in text and words(text):
        return True
    if matrix := structure.rows(text):
        return all(_readable(cell) for row in matrix[1] for cell in row)
    parts = structure.cases(text) or structure.items(text)
    if len(parts) == 1 and (found := structure.pair(text)):
        parts = found.parts
    if len(parts) == 1:
        parts = structure.ratio(text) or structure.chain(text)
    if len(parts) > 1:
        return all(part == "\\dots" or _readable(part) for part in parts)
    term = quantity(text, gold=True)[0].removesuffix("\\%").replace("^{\\circ}", "")
    return parse(term) is not None
