"""Terms: what a piece of respelled LaTeX is in sympy, and whether two are the same.

Parsed by math-verify's parser, compared by its `verify`, but

- letters keep their case (m is not M), symbols are real, and `i` is the imaginary unit;
- exact numbers are compared by their values, to one part in 10^15 and fractions exactly:
  math-verify takes all below 1e-15 for 0, and so 1/20! for 1/21!;
- math-verify compares decimals to six places, so that 1e-8 equals 0 and 4.5e33 little but itself:
  numbers that are very small or large are scaled to 1..10 first;
- differential equations are compared as equations (math-verify solves both, finds nothing, and
  calls them equal);
- a power or factorial with more than MAX_DIGITS digits is not evaluated: TooLargeError.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify import verify

MAX_DIGITS = 1_000_000
# Powers of ten between which math-verify's six decimal places are a sensible precision.
SMALL, LARGE = -3, 6
RELATIVE = sympy.Rational(1, 10**15)  # exact numbers further apart are different
NEGLIGIBLE = sympy.Rational(1, 10**25)  # two values below may both be an unevaluated 0
_SMALL, _LARGE = sympy.symbols("c C", real=True)
_AS_WRITTEN = ConversionConfig(lowercase_symbols=False, interpret_as_mixed_fractions=False)
# E and I are e and i to the parser; words and macros stay.
_CAPITALS = re.compile(r"(\\(?:text|math[a-z]+)\{[^{}]*\}|\\[A-Za-z]+)|([EI])")


class TooLargeError(Exception):
    """An expression holds a power or factorial that would never finish evaluating."""


@lru_cache(maxsize=4096)
def parse(text: str) -> Any:
    """The sympy object of respelled LaTeX, None where it has none."""
    try:
        parsed = latex2sympy(
            _CAPITALS.sub(lambda m: m[1] or rf"\mathcal{{{m[2]}}}", text),
            is_real=True,
            normalization_config=None,
            conversion_config=_AS_WRITTEN,
        )
    except Exception:  # the parser raises what it likes
        return None
    return _with_plain_parts(parsed) if isinstance(parsed, sympy.Basic | sympy.MatrixBase) else None


def same(gold: Any, answer: Any) -> bool:
    """Whether two parsed terms are the same. Raises TooLargeError."""
    if is_too_large(gold) or is_too_large(answer):
        if type(gold) is type(answer) and gold == answer:
            return True
        raise TooLargeError
    answer = _with_one_constant(gold, answer)
    if isinstance(gold, sympy.Symbol) and isinstance(answer, sympy.Symbol):
        return bool(gold == answer)  # math-verify would ignore the case of k_{B}
    if isinstance(gold, sympy.Eq) and isinstance(answer, sympy.Eq) and gold.has(sympy.Derivative):
        return _same_differential_equation(gold, answer)
    if _is_exact(gold) and _is_exact(answer) and (known := _decided(gold, answer)) is not None:
        return known
    gold, answer = _as_decimal(gold), _as_decimal(answer)
    gold, answer = _scaled(gold, answer) or _with_positive_roots(gold, answer)
    # In this order: it reads the second in the form of the first.
    return bool(verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None))


def _as_decimal(term: Any) -> Any:
    """A real number with decimals in it as one decimal: 17.5/100 is not 7/40 to math-verify."""
    if not isinstance(term, sympy.Expr) or not term.has(sympy.Float) or not term.is_real:
        return term
    return sympy.N(term, 15) if term.is_number else term


def _with_positive_roots(*terms: Any) -> tuple[Any, ...]:
    """What stands under roots is positive, so that 1/sqrt(n) is sqrt(1/n)."""
    powers = [part for term in terms for part in term.atoms(sympy.Pow) if part.free_symbols]
    if any(term.has(sympy.Abs) or isinstance(term, sympy.MatrixBase) for term in terms):
        return terms
    if not any(power.exp.is_Rational and power.exp.q > 1 for power in powers):
        return terms
    symbols = set().union(*(term.free_symbols for term in terms))
    positive = {s: sympy.Symbol(s.name, positive=True) for s in symbols}
    return tuple(term.xreplace(positive) for term in terms)


def _with_plain_parts(parsed: Any) -> Any:
    """The same expression in real symbols, the imaginary unit for i, fractions for exponents."""
    other = [s for s in parsed.free_symbols if s.name == "i" or not s.is_real]
    real = {s: sympy.I if s.name == "i" else sympy.Symbol(s.name, real=True) for s in other}
    powers = {
        power: sympy.Pow(power.base, sympy.Rational(str(power.exp)), evaluate=False)
        for power in parsed.atoms(sympy.Pow)
        if power.exp.is_Float
    }
    return parsed.xreplace(real | powers) if real or powers else parsed


def _is_exact(parsed: Any) -> bool:
    """A term without decimals, and not a word (which is a product of letters)."""
    if not isinstance(parsed, sympy.Expr) or parsed.has(sympy.Float, sympy.UnevaluatedExpr):
        return False
    return parsed.is_number or not all(part.is_Symbol for part in sympy.Mul.make_args(parsed))


def _decided(gold: sympy.Expr, answer: sympy.Expr) -> bool | None:
    """Equality of exact terms where it shows in their values; None where it does not.

    Fractions are equal or not. Other terms are different if their values are where each symbol has
    a value of its own, and math-verify need not spend 10 ms on simplifying their difference.
    """
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if not symbols:
        fractions = [term.doit() for term in (gold, answer)]
        if all(value.is_Rational for value in fractions):
            return bool(fractions[0] == fractions[1])
    point = {s: sympy.Rational(10 * k + 7, 9 * k + 4) for k, s in enumerate(symbols)}
    values = [term.subs(point).evalf(30) for term in (gold, answer)]
    if not all(value.is_number and value.is_finite for value in values):
        return None
    *sizes, apart = (sympy.Abs(v).evalf(30) for v in (*values, values[0] - values[1]))
    if not all(size.is_Float or size.is_Rational for size in sizes):
        return None
    # A product of powers is not 0 unless it is written so.
    simple = all(term.is_number and not term.has(sympy.Add) for term in (gold, answer))
    if max(sizes) <= NEGLIGIBLE and not simple:
        return None
    return False if apart > RELATIVE * max(sizes) else None


def _with_one_constant(gold: Any, answer: Any) -> Any:
    """The answer with the gold's letter for the constant of integration, c or C.

    It is one in a sum that is linear in it and holds e^ or sin: the solution of an equation.
    """
    names = [term.free_symbols & {_SMALL, _LARGE} for term in (gold, answer)]
    if not isinstance(gold, sympy.Expr) or not gold.has(sympy.exp, sympy.sin, sympy.cos):
        return answer
    if len(names[0]) != 1 or len(names[1]) != 1 or names[0] == names[1]:
        return answer
    (mine,), (other,) = names
    particular = gold.subs(mine, 0)
    if particular in (0, gold) or not sympy.diff(gold, mine, 2).equals(0):
        return answer
    return answer.xreplace({other: mine})


def _same_differential_equation(gold: sympy.Eq, answer: sympy.Eq) -> bool:
    """Whether one is the other times a factor without derivatives."""
    terms = [equation.lhs - equation.rhs for equation in (gold, answer)]
    rates = {rate: sympy.Dummy() for term in terms for rate in term.atoms(sympy.Derivative)}
    gold_term, answer_term = (term.xreplace(rates) for term in terms)
    ratio = sympy.simplify(gold_term / answer_term)
    return not ratio.is_zero and not ratio.free_symbols & set(rates.values())


def _scaled(gold: Any, answer: Any) -> tuple[Any, Any] | None:
    """Both numbers over the gold's power of ten, where six decimal places would mislead."""
    if not all(isinstance(term, sympy.Expr) and term.is_number for term in (gold, answer)):
        return None
    written_out = gold.is_Integer  # 11111111100 is exact, 7 \times 10^{37} may be rounded
    if not (gold.has(sympy.Float) or (answer.has(sympy.Float) and not written_out)):
        return None
    try:
        exponent = math.floor(math.log10(abs(float(gold))))
    except (ArithmeticError, TypeError, ValueError):  # 0, or not real
        return None
    if SMALL <= exponent <= LARGE:
        return None
    unit = sympy.Integer(10) ** exponent
    return sympy.N(gold, 20) / unit, sympy.N(answer, 20) / unit


def is_too_large(parsed: Any) -> bool:
    """Whether a power, factorial or binomial in it has more than MAX_DIGITS digits.

    `9^{9^{9^{9}}}` parses lazily in a millisecond and is evaluated, for ever, when it is compared.
    """
    growing = parsed.atoms(sympy.Pow, sympy.factorial, sympy.binomial)
    return any(abs(_log10(part)) > MAX_DIGITS for part in growing)


def _log10(expr: Any) -> float:
    """Rough log10 |expr| of a tree of numbers, sums, products, powers, factorials, binomials.

    0 for anything else (symbols, functions), -inf for 0: this is a screen, not an evaluation, and
    costs microseconds however large the value is.
    """
    if isinstance(expr, sympy.Number):
        return _log10_number(expr)
    parts = [_log10(part) for part in expr.args]
    if isinstance(expr, sympy.Add):
        return max(parts)
    if isinstance(expr, sympy.Mul):
        return sum(parts)
    if isinstance(expr, sympy.Pow):
        base, exponent = parts
        sign = -1 if isinstance(expr.exp, sympy.Number) and expr.exp.is_negative else 1
        return sign * base * 10.0 ** min(exponent, 300.0) if base else 0.0
    if isinstance(expr, sympy.factorial | sympy.binomial):
        return 10.0 ** min(parts[0], 300.0) * max(parts[0], 0.5)
    return parts[0] if isinstance(expr, sympy.UnevaluatedExpr) else 0.0


def _log10_number(number: Any) -> float:
    if number.is_zero or not number.is_finite:
        return -math.inf if number.is_zero else 0.0
    if number.is_Rational:
        return math.log10(abs(int(number.p))) - math.log10(int(number.q))
    return (int(number.num.exp) + int(number.num.bc)) * math.log10(2)
