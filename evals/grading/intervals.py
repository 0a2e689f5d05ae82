r"""Sets of real numbers: intervals, unions, inequalities, `\{x \mid x > 2\}`, `\mathbb{R}`."""

from __future__ import annotations

import re
from functools import lru_cache, reduce
from itertools import pairwise
from typing import NamedTuple

import sympy

from kpo.evals.grading.brackets import bare, split
from kpo.evals.grading.structure import is_braced, items, pair, signed
from kpo.evals.grading.terms import parse

_RELATIONS = {"<": sympy.Lt, ">": sympy.Gt, "=": sympy.Eq}
_RELATIONS |= {"\\le": sympy.Le, "\\ge": sympy.Ge, "\\ne": sympy.Ne}
_REALS = re.compile(
    r"(?:\\text\{)?\s*(?:the set of )?(?:all )?(?:the )?reals?(?: numbers?)?\s*\}?"
    r"(?:\s*(?:\\text\{)?\s*except(?: for)?\s*\}?\s*(.*))?",
    re.IGNORECASE,
)
_NAMED = {"\\emptyset": sympy.S.EmptySet, "\\mathbb{R}": sympy.S.Reals}
_SURELY = re.compile(
    r"\\(?:cup|cap|setminus|emptyset|mid|mathbb\{R\}|le|ge|ne)(?![A-Za-z])|[<>]"
    r"|\ball (?:the )?reals?\b"
    r"|^[(\[]?\s*-\s*\\infty|\\infty\s*[)\]]"
)


class Reals(NamedTuple):
    """A set and the variable that was said to lie in it, "" if none was named."""

    content: sympy.Set
    variable: str


def is_set(text: str) -> bool:
    """Whether it can be nothing but a set of numbers or an inequality."""
    found = pair(text)
    half_open = found is not None and found.brackets in ("(]", "[)") and len(found.parts) == 2
    return half_open or _SURELY.search(text) is not None


def same_sets(one: Reals, other: Reals) -> bool:
    """Whether two sets are equal; names count where both are given."""
    if one.variable and other.variable and one.variable != other.variable:
        return False
    if one.content == other.content:
        return True
    try:
        return bool(one.content.symmetric_difference(other.content).is_empty)
    except Exception:  # sympy cannot order the ends
        return False


@lru_cache(maxsize=4096)
def as_set(text: str) -> Reals | None:
    """The set of real numbers that a text describes, None where it describes none."""
    try:
        return _read(text)
    except Exception:  # sympy raises what it likes on sets that it cannot order
        return None


def _both(one: sympy.Set, other: sympy.Set) -> sympy.Set:
    """`x > 2, x < 5` is both; `x < 2, x > 5`, where nothing is both, either."""
    both = one & other
    return one | other if both is sympy.S.EmptySet else both


_OPERATIONS = {  # the one that binds least first
    "\\lor": sympy.Union,
    "\\land": _both,
    ",": _both,
    "\\cup": sympy.Union,
    "\\cap": sympy.Intersection,
    "\\setminus": sympy.Complement,
}


def _read(text: str) -> Reals:
    """`as_set`, raising ValueError where a text describes none."""
    text = re.sub(r"\A\\mathbb\{R\}\s*-\s*(?=\\\{)", r"\\mathbb{R} \\setminus ", bare(text))
    head, *inside = split(text, {"\\in"})
    if inside and re.fullmatch(r"\\?[A-Za-z]+", head):
        return _read(text.split("\\in", 1)[1].lstrip())._replace(variable=head.lstrip("\\"))
    for mark, merge in _OPERATIONS.items():
        parts = split(text, {mark})
        if len(parts) > 1 and (mark != "," or is_set(parts[0])):
            sets = [_read(part) for part in parts if part]
            (name,) = {one.variable for one in sets} - {""} or {""}
            return Reals(reduce(merge, (one.content for one in sets)), name)
    return _single(text)


def _single(text: str) -> Reals:
    if text in _NAMED:
        return Reals(_NAMED[text], "")
    if named := _REALS.fullmatch(text):
        out = _read(f"\\{{{named[1]}\\}}").content if named[1] is not None else sympy.S.EmptySet
        return Reals(sympy.S.Reals - out, "")
    if is_braced(text):
        return _braced(text[2:-2])
    if (found := pair(text)) is not None and len(found.parts) == 2:
        low, high = map(_number, found.parts)
        if low > high:
            raise ValueError(text)
        opens = found.brackets[0] == "(", found.brackets[1] == ")"
        return Reals(sympy.Interval(low, high, *opens), "")
    return _inequality(text)


def _braced(inside: str) -> Reals:
    builder = split(inside, {"\\mid", ":", "|"})
    if len(builder) != 2:
        return Reals(sympy.FiniteSet(*map(_number, items(inside))), "")
    found = _read(builder[1])
    domain = as_set(builder[0]) if "\\in" in builder[0] else None
    return found._replace(content=found.content & domain.content) if domain else found


def _inequality(text: str) -> Reals:
    """`1 < x \\le 2`, in one variable, which is not named where a side is left out."""
    if (found := signed(text, _RELATIONS)) is None:
        raise ValueError(text)
    parts, signs = found
    terms = [_number(part) if part else sympy.Symbol("x", real=True) for part in parts]
    if {*signs} == {"="} and not terms[0].is_Symbol:
        raise ValueError(text)
    (variable,) = set().union(*(term.free_symbols for term in terms))
    content = sympy.S.Reals
    for sign, sides in zip(signs, pairwise(terms), strict=True):
        content &= _RELATIONS[sign](*sides).as_set()
    return Reals(content, variable.name if all(parts) else "")


def _number(text: str) -> sympy.Expr:
    """A term, decimals exact. Raises ValueError for what is none."""
    parsed = parse(text)
    if not isinstance(parsed, sympy.Expr):
        raise ValueError(text)
    done = parsed.doit()
    return sympy.nsimplify(done, rational=True) if done.has(sympy.Float) else done
