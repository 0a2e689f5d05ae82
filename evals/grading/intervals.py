r"""Sets of real numbers: intervals, unions, inequalities, `\{x \mid x > 2\}`, `\mathbb{R}`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import sympy

from evals.grading.brackets import bare, split
from evals.grading.structure import is_braced, items, pair
from evals.grading.terms import parse

_RELATIONS = {"<": sympy.Lt, ">": sympy.Gt, "\\le": sympy.Le, "\\ge": sympy.Ge, "\\ne": sympy.Ne}
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


def _read(text: str) -> Reals | None:
    text = bare(text)
    head, *inside = split(text, {"\\in"})
    if inside and re.fullmatch(r"\\?[A-Za-z]+", head):
        found = _read(text.split("\\in", 1)[1].lstrip())
        return None if found is None else Reals(found.content, head.lstrip("\\"))
    for mark, merge in (
        ("\\lor", sympy.Union),
        ("\\land", _both),
        (",", _both),
        ("\\cup", sympy.Union),
    ):
        if len(parts := split(text, {mark})) > 1 and (mark != "," or is_set(parts[0])):
            return _merged(parts, merge)
    for mark, merge in (("\\cap", sympy.Intersection), ("\\setminus", sympy.Complement)):
        if len(parts := split(text, {mark})) > 1:
            return _merged(parts, merge)
    return _single(text)


def _single(text: str) -> Reals | None:
    if text in _NAMED:
        return Reals(_NAMED[text], "")
    if (left := re.fullmatch(r"\\mathbb\{R\}\s*-\s*(\\\{.*)", text)) and (out := _read(left[1])):
        return Reals(sympy.S.Reals - out.content, "")
    if named := _REALS.fullmatch(text):
        out = Reals(sympy.S.EmptySet, "") if named[1] is None else _read(f"\\{{{named[1]}\\}}")
        return None if out is None else Reals(sympy.S.Reals - out.content, "")
    if is_braced(text):
        return _braced(text[2:-2])
    if (found := pair(text)) is not None and len(found.parts) == 2:
        low, high = map(_number, found.parts)
        opens = found.brackets[0] == "(", found.brackets[1] == ")"
        return None if low > high else Reals(sympy.Interval(low, high, *opens), "")
    return _inequality(text)


def _braced(inside: str) -> Reals | None:
    builder = split(inside, {"\\mid", ":", "|"})
    if len(builder) != 2:
        return Reals(sympy.FiniteSet(*map(_number, items(inside))), "")
    found = _read(builder[1])
    domain = _read(builder[0]) if "\\in" in builder[0] else None
    if found is None or domain is None:
        return found
    return Reals(found.content & domain.content, found.variable)


def _inequality(text: str) -> Reals | None:
    """`1 < x \\le 2`, in one variable."""
    signs = [s for s in re.findall(r"\\[A-Za-z]+|[<>=]", text) if s in _RELATIONS or s == "="]
    parts = split(text, {*_RELATIONS, "="})
    if not signs or len(parts) != len(signs) + 1:
        return None
    terms = [_number(part) if part else sympy.Symbol("x", real=True) for part in parts]
    content: Any = sympy.S.Reals
    if set(signs) == {"="} and not terms[0].is_Symbol:
        return None
    variables = set().union(*(term.free_symbols for term in terms))
    if len(variables) != 1:
        return None
    for left, sign, right in zip(terms, signs, terms[1:], strict=False):
        relation = _RELATIONS.get(sign, sympy.Eq)(left, right)
        content = content & relation.as_set()
    return Reals(content, variables.pop().name if all(parts) else "")


def _merged(parts: list[str], merge: Any) -> Reals | None:
    found = [_read(part) for part in parts if part]
    known = [part for part in found if part is not None]
    names = {part.variable for part in known} - {""}
    if len(known) < len(found) or len(names) > 1:
        return None
    content = known[0].content
    for part in known[1:]:
        content = merge(content, part.content)
    return Reals(content, names.pop() if names else "")


def _both(one: sympy.Set, other: sympy.Set) -> sympy.Set:
    """`x > 2, x < 5` is both; `x < 2, x > 5`, where nothing is both, either."""
    both = one & other
    return one | other if both is sympy.S.EmptySet else both


def _number(text: str) -> sympy.Expr:
    """A term, decimals exact. Raises ValueError for what is none."""
    parsed = parse(text)
    if not isinstance(parsed, sympy.Expr):
        raise ValueError(text)
    return (
        sympy.nsimplify(parsed.doit(), rational=True) if parsed.has(sympy.Float) else parsed.doit()
    )
