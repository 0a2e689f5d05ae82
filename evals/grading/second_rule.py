"""A second, independent rule for when two answers agree; it shares nothing with math-verify.

    agree(gold, answer)  =  same text after spelling differences are removed
                         or same number (complex, to RELATIVE_TOLERANCE), where letters stand for
                            fixed generic values, so that 2x+3 and 3+2x are the same "number"
                         or lists, sets, tuples and intervals that agree element by element

It reads +, -, *, /, ^, \\frac, \\sqrt, \\binom, !, \\pi, i, e, percent and degree signs, decimals,
mixed numbers, scientific notation, base suffixes. Everything else is compared as text. Being
simple it is wrong where math-verify is right (equations in another form, trigonometric identities),
and may be right where math-verify is wrong: `evals.regrade` reports where the two part.
"""

from __future__ import annotations

import cmath
import math
import re

from kpo.evals.grading.brackets import in_any_order, split

RELATIVE_TOLERANCE = 1e-6
MAX_CHARS = 1000  # longer answers are compared as text only
_SPELLING: tuple[tuple[str, str], ...] = (
    (r"\\[dtc]frac", r"\\frac"),
    (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits|quad|qquad)(?![A-Za-z])", ""),
    (r"\\(?:mathrm|textbf|textit|textrm|mathbf|mbox|operatorname)(?![A-Za-z])", r"\\text"),
    (r"\\(?:cdot|times|ast)(?![A-Za-z])", "*"),
    (r"\\(?:leq?|leqslant)(?![A-Za-z])", "<="),
    (r"\\(?:geq?|geqslant)(?![A-Za-z])", ">="),
    (r"\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b", ","),
    (r"\\text\s*\{\s*([ie])\s*\}", r"\1"),
    (r"(?<=[\d.}%)])\s*\\text\s*\{[^{}]*\}(?:\s*\^\s*\{?\d\}?)?", ""),  # units
    (r"\\text\s*\{([^{}]*)\}", r"\1"),
    (r"\^\s*\{?\s*\\circ\s*\}?|\u00b0", ""),
    (r"\\?\$|\\[,;:!]|\\ |~|\s", ""),
    (r"\{,\}", ","),
    (r"\\frac(\d)(\d)", r"\\frac{\1}{\2}"),
    (r"\\frac(\d)\{", r"\\frac{\1}{"),
    (r"(\\frac\{[^{}]*\})(\d)", r"\1{\2}"),
    (r"\\sqrt(\d)", r"\\sqrt{\1}"),
    (r"_\{(\w+)\}", r"_\1"),
    (r"\u2212", "-"),
    (r"^[A-Za-z](?:_\w+)?(?:\([a-z]\))?(?:=|\\in)(?=[^=]*$)", ""),  # x = 5, f(x) = 2x
    (r"\\cup", "\u222a"),
    (r"[.,;:]+$", ""),
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_RULES = tuple((re.compile(pattern), replacement) for pattern, replacement in _SPELLING)


def agree(gold: str, answer: str) -> bool:
    """Whether the two mean the same by this rule. Never raises, takes milliseconds at most."""
    try:
        return _agree(respell(gold), respell(answer))
    except RecursionError:
        return False


def respell(text: str) -> str:
    """The text without differences of spelling: spaces, sizes, units, dollar signs, `x =`."""
    if len(text) > MAX_CHARS:
        return "".join(text.split())
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def _agree(gold: str, answer: str) -> bool:
    if gold.casefold() == answer.casefold() != "":
        return True
    if max(len(gold), len(answer)) > MAX_CHARS:
        return False
    (kind, golds), (other_kind, answers) = _elements(gold), _elements(answer)
    if kind != other_kind:
        return False
    if not kind:
        return _same_number(gold, answer)
    if kind in ("list", "union"):
        return in_any_order(golds, answers, _agree)
    return len(golds) == len(answers) and all(map(_agree, golds, answers))


def _same_number(gold: str, answer: str) -> bool:
    """Equal values; a percent sign on one side only may mean hundredths or be left out."""
    a, b = evaluate(gold.rstrip("\\%")), evaluate(answer.rstrip("\\%"))
    if a is None or b is None:
        return False
    readings = a, a * 100.0 ** (answer.endswith("%") - gold.endswith("%"))
    return any(abs(x - b) <= RELATIVE_TOLERANCE * min(abs(x), abs(b)) for x in readings)


def _elements(text: str) -> tuple[str, list[str]]:
    """Kind ("" for a single thing) and elements of a list, set, union, tuple or interval."""
    for kind, separator in (("union", "\u222a"), ("list", ",")):
        if len(parts := split(text, {separator})) > 1:
            return kind, _plus_minus(parts)
    if len(signed := _plus_minus([text])) > 1:
        return "list", signed
    if found := re.fullmatch(r"(\\\{|[(\[])(.*)(\\\}|[)\]])", text):
        kind, parts = found[1] + found[3], split(found[2], {","})
        if kind == "\\{\\}":
            return "list", _plus_minus(parts)
        if len(parts) > 1 and len(kind) == 2:
            return kind, parts
    return "", [text]


def _plus_minus(parts: list[str]) -> list[str]:
    """With a part for each sign, in place of one with `\\pm` in it."""
    signs = (("+", "-") if part.count("\\pm") == 1 else ("\\pm",) for part in parts)
    return [
        part.replace("\\pm", sign) for part, both in zip(parts, signs, strict=True) for sign in both
    ]


_TOKEN = re.compile(
    r"\d+\.?\d*(?:e[-+]?\d+(?![\d.]))?|\.\d+|\\[A-Za-z]+|[A-Za-z]|[-+*/^!_()\[\]{}]"
)
_CONSTANTS = {"\\pi": cmath.pi + 0j, "i": 1j, "e": cmath.e + 0j, "\\infty": 1.2345e9 + 0j}
_CLOSING = {"{": "}", "(": ")", "[": "]"}


def evaluate(text: str) -> complex | None:
    """Value of an arithmetic expression, letters at fixed generic values; None if it has none."""
    tokens = _TOKEN.findall(text)
    if not tokens or "".join(tokens) != text:
        return None
    try:
        parser = _Parser(tokens)
        value = parser.sum()
        return value if not parser.next and abs(value) < 1e300 else None
    except (ArithmeticError, LookupError, ValueError):
        return None


class _Parser:
    """Recursive descent over the tokens, an empty one at their end: sum, product, power, atom."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = [*tokens, ""], 0

    @property
    def next(self) -> str:
        return self.tokens[self.at]

    def take(self, *allowed: str) -> str:
        """Go past the next token if it is one of these; it, else nothing."""
        token = self.next if self.next in allowed else ""
        self.at += bool(token)
        return token

    def sum(self) -> complex:
        value, sign = 0j, self.take("+", "-") or "+"
        while sign:
            term = self.product()
            value += term if sign == "+" else -term
            sign = self.take("+", "-")
        return value

    def product(self) -> complex:
        value = self.power()
        while self.next not in ("", "+", "-", ")", "]", "}"):
            if self.take("/"):
                value /= self.power()
            elif self.next == "\\frac" and self.tokens[self.at - 1].isdigit():
                value += self.power()  # a mixed number, 1\frac{4}{5}
            else:
                self.take("*")
                value *= self.power()
        return value

    def power(self) -> complex:
        if self.take("-"):
            return -self.power()
        value = self.atom()
        while mark := self.take("^", "!", "_"):
            if mark == "!":
                value = complex(math.gamma(value.real + 1))
            elif mark == "^":
                value = value ** (self.group() if self.next == "{" else self.power())
            else:
                value += 1000 * cmath.sin(self.atom())  # a base or an index: another thing
        return value

    def group(self) -> complex:
        closing = _CLOSING[self.take(*_CLOSING)]
        value = self.sum()
        if not self.take(closing):
            raise ValueError
        return value

    def atom(self) -> complex:
        if self.next in _CLOSING:
            return self.group()
        token = self.take(self.next)
        if token == "\\frac":
            return self.group() / self.group()
        if token == "\\binom":
            return complex(math.comb(_small(self.group()), _small(self.group())))
        if token == "\\sqrt":
            root = self.group() if self.next == "[" else 2
            return self.group() ** (1 / root)
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        letter = token.isalpha()
        return complex(1 + math.modf(math.sqrt(2) * ord(token))[0] if letter else float(token))


def _small(value: complex) -> int:
    if abs(value) > 1000 or value != int(value.real):
        raise ValueError
    return int(value.real)
