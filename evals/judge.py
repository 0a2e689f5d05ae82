"""What an answer means, by math-verify: parse, screen, compare. Runs inside the grading workers.

Where this differs from a bare `verify(parse(gold), parse(answer))`:

- a gold must parse as the whole content of a box; math-verify alone, where that fails, takes a
  number it finds somewhere in the text (`\\frac{1}{3} E_{1} + \\frac{2}{3} E_{2}` becomes 2/3);
- a trailing letter of an answer is read both as a unit (5 m) and as a variable (the `6m` cells of
  a board); a gold's trailing variable is protected by its benchmark's normaliser;
- a percentage equals the same number without the sign, as math-verify has it for integers;
- symbols are real and `i` is the imaginary unit, however the text is spaced;
- an inequality is an answer to an interval, not only an interval to an inequality;
- math-verify compares decimals to six places, so that 1e-8 equals 0 and 4.5e33 little but itself:
  numbers that are very small or large are scaled to 1..10 first;
- differential equations are compared as equations (math-verify solves both, finds nothing, and
  calls them equal), sets in any order of their members;
- a power or factorial with more than MAX_DIGITS digits is not evaluated: TooLargeError.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

MAX_DIGITS = 1_000_000
# Powers of ten between which math-verify's six decimal places are a sensible precision.
SMALL, LARGE = -3, 6
MAX_SET = 10  # members of the largest set whose orders are tried
_OBJECTS = (sympy.Basic, sympy.MatrixBase)
_NO_NUMBERS = (sympy.MatrixBase, sympy.Interval, sympy.Union, sympy.Tuple)

_BOX_ONLY = LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False)
_AS_USUAL = (LatexExtractionConfig(), ExprExtractionConfig())
_NO_UNITS = LatexExtractionConfig(
    boxed_match_priority=0,
    try_extract_without_anchor=False,
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all"
    ),
)


class TooLargeError(Exception):
    """An expression holds a power or factorial that would never finish evaluating."""


def parse_boxed(latex: str, *configs: Any) -> list[Any]:
    """Parse LaTeX as the content of a box: bare `\\dfrac{9}{7}` would parse to nothing.

    Returns math-verify's list: the sympy object where there is one, then the normalised text.
    """
    parsed: list[Any] = parse(f"\\boxed{{{latex}}}", list(configs), parsing_timeout=None)
    return parsed


@lru_cache(maxsize=4096)
def parse_gold(latex: str) -> list[Any]:
    """The gold's reading."""
    return parse_boxed(latex, _BOX_ONLY)


@lru_cache(maxsize=4096)
def parse_answer(latex: str) -> list[Any]:
    """An answer's readings: as math-verify takes it, and with a trailing letter as a variable."""
    readings = parse_boxed(latex, *_AS_USUAL)
    if latex[-1:].isalpha():
        readings = readings + parse_boxed(latex, _NO_UNITS)
    return readings


def equal(*, gold: Any, prediction: Any) -> bool:
    """`verify` with names, because it is asymmetric: the prediction is read in the gold's form."""
    return bool(verify(gold, prediction, allow_set_relation_comp=True, timeout_seconds=None))


def judge(gold: str, answer: str) -> bool:
    """Whether an answer equals the gold. Raises TooLargeError."""
    gold_bare, answer_bare = _without_percent(gold), _without_percent(answer)
    golds = parse_gold(gold)
    answers = golds if answer == gold else parse_answer(answer)
    if gold_bare != gold and answer_bare == answer:
        golds = golds + parse_gold(gold_bare)
    elif answer_bare != answer and gold_bare == gold:
        answers = answers + parse_answer(answer_bare)
    if any(is_too_large(part) for part in (*golds, *answers)):
        if any(type(g) is type(a) and g == a for g, a in product(golds, answers)):
            return True
        raise TooLargeError
    pairs = product(map(_with_plain_symbols, golds), map(_with_plain_symbols, answers))
    return any(_same(g, a) for g, a in pairs)


def is_usable(gold: str) -> bool:
    """Whether a gold parses to a mathematical object that equals itself. Raises TooLargeError."""
    parsed = parse_gold(gold)
    return bool(parsed) and isinstance(parsed[0], _OBJECTS) and judge(gold, gold)


def _without_percent(latex: str) -> str:
    return latex.removesuffix("%").removesuffix("\\").rstrip() if latex.endswith("%") else latex


def _with_plain_symbols(parsed: Any) -> Any:
    """The same expression in real symbols and the imaginary unit.

    math-verify declares every symbol not real where the text holds a lone `i` (`6 + 9 i`, `v_{i}`,
    but not `6+9i`), which makes it another symbol, and keeps `i` itself a symbol.
    """
    if not isinstance(parsed, _OBJECTS):
        return parsed
    other = [s for s in parsed.free_symbols if s.name == "i" or not s.is_real]
    real = {s: sympy.I if s.name == "i" else sympy.Symbol(s.name, real=True) for s in other}
    return parsed.xreplace(real) if real else parsed


def _same(gold: Any, answer: Any) -> bool:
    if isinstance(gold, sympy.Eq) and isinstance(answer, sympy.Eq) and gold.has(sympy.Derivative):
        return _same_differential_equation(gold, answer)
    if _different_kinds(gold, answer) or _different_kinds(answer, gold):
        return False
    if _is_exact(gold) and _is_exact(answer) and _differ_somewhere(gold, answer):
        return False
    gold_set, answer_set = _elements(gold), _elements(answer)
    if gold_set and answer_set and len(gold_set) == len(answer_set):
        return equal(gold=gold, prediction=answer) or _same_elements(gold_set, answer_set)
    scaled = _scaled(gold, answer)
    if scaled is None:
        return equal(gold=gold, prediction=answer)
    return equal(gold=scaled[0], prediction=scaled[1])


def _different_kinds(number: Any, other: Any) -> bool:
    """A number against a matrix, interval or tuple: math-verify says no too, in 0.1 s."""
    is_number = isinstance(number, sympy.Expr) and not number.free_symbols
    return is_number and isinstance(other, _NO_NUMBERS)


def _is_exact(parsed: Any) -> bool:
    """A term without decimals or percentages, and not a word (which is a product of letters)."""
    if not isinstance(parsed, sympy.Expr) or parsed.has(sympy.Float, sympy.UnevaluatedExpr):
        return False
    return parsed.is_number or not all(part.is_Symbol for part in sympy.Mul.make_args(parsed))


def _differ_somewhere(gold: sympy.Expr, answer: sympy.Expr) -> bool:
    """Whether two terms have different values where each symbol has a value of its own.

    Then they are different, and math-verify need not spend 10 ms on simplifying their difference.
    """
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    point = {s: sympy.Rational(10 * k + 7, 9 * k + 4) for k, s in enumerate(symbols)}
    values = [term.subs(point).evalf() for term in (gold, answer)]
    if not all(value.is_Float or value.is_Integer for value in values):
        return False
    return bool(abs(values[0] - values[1]) > 1e-6 * (1 + abs(values[0])))


def _same_differential_equation(gold: sympy.Eq, answer: sympy.Eq) -> bool:
    """Whether one is the other times a factor without derivatives.

    math-verify solves both, finds no solution of either and calls them equal.
    """
    terms = [equation.lhs - equation.rhs for equation in (gold, answer)]
    rates = {rate: sympy.Dummy() for term in terms for rate in term.atoms(sympy.Derivative)}
    gold_term, answer_term = (term.xreplace(rates) for term in terms)
    ratio = sympy.simplify(gold_term / answer_term)
    return not ratio.is_zero and not ratio.free_symbols & set(rates.values())


def _elements(parsed: Any) -> list[Any]:
    """Members of a finite set, or of `x = {...}`; nothing for everything else."""
    value = parsed.rhs if isinstance(parsed, sympy.Eq) else parsed
    return list(value.args) if isinstance(value, sympy.FiniteSet) else []


def _same_elements(gold: list[Any], answer: list[Any]) -> bool:
    """Whether each member of one set equals a member of the other.

    math-verify compares in sorted order, and sorts pi/6 + k pi differently from k pi + (1/6) pi.
    """
    return len(gold) <= MAX_SET and all(
        any(equal(gold=g, prediction=a) for a in answer) for g in gold
    )


def _scaled(gold: Any, answer: Any) -> tuple[Any, Any] | None:
    """Both numbers over the gold's power of ten, where six decimal places would mislead."""
    exponent = _exponent(gold)
    if exponent is None or SMALL <= exponent <= LARGE:
        return None
    if not isinstance(answer, sympy.Expr) or not answer.is_number:
        return None
    written_out = gold.is_Integer  # 11111111100 is exact, 7 \times 10^{37} may be rounded
    if not (gold.has(sympy.Float) or (answer.has(sympy.Float) and not written_out)):
        return None
    unit = sympy.Integer(10) ** exponent
    return sympy.N(gold, 20) / unit, sympy.N(answer, 20) / unit


def _exponent(number: Any) -> int | None:
    """The power of ten of a real number other than 0; None for everything else."""
    if not isinstance(number, sympy.Expr) or not number.is_number:
        return None
    try:
        return math.floor(math.log10(abs(float(number))))
    except (ArithmeticError, TypeError, ValueError):
        return None


def is_too_large(parsed: Any) -> bool:
    """Whether a power, factorial or binomial in it has more than MAX_DIGITS digits.

    `9^{9^{9^{9}}}` parses lazily in a millisecond and is evaluated, for ever, when it is compared.
    """
    if not isinstance(parsed, _OBJECTS):
        return False
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
        return sign * base * _exp10(exponent) if base else 0.0
    if isinstance(expr, sympy.factorial | sympy.binomial):
        return _exp10(parts[0]) * max(parts[0], 0.5)
    return parts[0] if isinstance(expr, sympy.UnevaluatedExpr) else 0.0


def _log10_number(number: Any) -> float:
    if number.is_zero or not number.is_finite:
        return -math.inf if number.is_zero else 0.0
    if number.is_Rational:
        return math.log10(abs(int(number.p))) - math.log10(int(number.q))
    return (int(number.num.exp) + int(number.num.bc)) * math.log10(2)


def _exp10(power: float) -> float:
    return 10.0 ** min(power, 300.0)
