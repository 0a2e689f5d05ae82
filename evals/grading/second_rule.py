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

from evals.grading.brackets import split

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
    golds, answers = _elements(gold), _elements(answer)
    if golds is not None and answers is not None:
        return _same_elements(golds, answers)
    if (golds is None) != (answers is None):
        return False
    return _same_number(gold, answer)


def _same_number(gold: str, answer: str) -> bool:
    """Equal values; a percent sign on one side only may mean hundredths or be left out."""
    a, b = evaluate(gold.rstrip("\\%")), evaluate(answer.rstrip("\\%"))
    if a is None or b is None:
        return False
    percent = gold.endswith("%") - answer.endswith("%")
    return _close(a, b) or (percent != 0 and _close(a * 100.0**-percent, b))


def _close(a: complex, b: complex) -> bool:
    return abs(a - b) <= RELATIVE_TOLERANCE * min(abs(a), abs(b))


def _elements(text: str) -> tuple[str, list[str]] | None:
    """Kind and elements of a list, set, union, tuple or interval; None for a single thing."""
    for kind, separator in (("union", "\u222a"), ("list", ",")):
        parts = split(text, {separator})
        if len(parts) > 1:
            return kind, [one for part in parts for one in _plus_minus(part)]
    signed = _plus_minus(text)
    if len(signed) > 1:
        return "list", signed
    for opening, closing in (("\\{", "\\}"), ("(", ")"), ("(", "]"), ("[", ")"), ("[", "]")):
        inside = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing):
            parts = split(inside, {","})
            if opening == "\\{":
                return "list", [one for part in parts for one in _plus_minus(part)]
            if len(parts) > 1:
                return opening + closing, parts
    return None


def _same_elements(gold: tuple[str, list[str]], answer: tuple[str, list[str]]) -> bool:
    """In order for tuples and intervals, in any order for the rest; kinds must be the same."""
    if gold[0] != answer[0] or len(gold[1]) != len(answer[1]):
        return False
    if gold[0] not in ("list", "union"):
        return all(map(_agree, gold[1], answer[1]))
    left = list(answer[1])
    for element in gold[1]:
        match = next((other for other in left if _agree(element, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _plus_minus(text: str) -> list[str]:
    if text.count("\\pm") != 1:
        return [text]
    return [text.replace("\\pm", sign) for sign in "+-"]


_TOKEN = re.compile(
    r"\d+\.?\d*(?:e[-+]?\d+(?![\d.]))?|\.\d+|\\[A-Za-z]+|[A-Za-z]|[-+*/^!_()\[\]{}]"
)
_CONSTANTS = {"\\pi": cmath.pi + 0j, "i": 1j, "e": cmath.e + 0j, "\\infty": 1.2345e9 + 0j}


def evaluate(text: str) -> complex | None:
    """Value of an arithmetic expression, letters at fixed generic values; None if it has none."""
    tokens = _TOKEN.findall(text)
    if not tokens or "".join(tokens) != text:
        return None
    try:
        value = _Parser(tokens).whole()
        return value if abs(value) < 1e300 else None
    except (ArithmeticError, LookupError, ValueError):
        return None


class _Parser:
    """Recursive descent over the tokens: sum, product, power, atom."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0

    def whole(self) -> complex:
        value = self.sum()
        if self.at != len(self.tokens):
            raise ValueError
        return value

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.tokens[self.at]
        if expected and token != expected:
            raise ValueError
        self.at += 1
        return token

    def sum(self) -> complex:
        value = 0j
        sign = self.take() if self.peek() in ("+", "-") else "+"
        while True:
            term = self.product()
            value += term if sign == "+" else -term
            if self.peek() not in ("+", "-"):
                return value
            sign = self.take()

    def product(self) -> complex:
        value = self.power()
        while self.peek() and self.peek() not in ("+", "-", ")", "]", "}"):
            if self.peek() == "/":
                self.take()
                value /= self.power()
            elif self.peek() == "\\frac" and self.tokens[self.at - 1].isdigit():
                value += self.power()  # a mixed number, 1\frac{4}{5}
            else:
                if self.peek() == "*":
                    self.take()
                value *= self.power()
        return value

    def power(self) -> complex:
        if self.peek() == "-":
            self.take()
            return -self.power()
        value = self.atom()
        while self.peek() in ("^", "!", "_"):
            mark = self.take()
            if mark == "!":
                value = complex(math.gamma(value.real + 1))
            elif mark == "^":
                value = value ** (self.group() if self.peek() == "{" else self.power())
            else:
                value += 1000 * cmath.sin(self.atom())  # a base or an index: another thing
        return value

    def group(self) -> complex:
        closing = {"{": "}", "(": ")", "[": "]"}[self.take()]
        value = self.sum()
        self.take(closing)
        return value

    def atom(self) -> complex:
        token = self.peek()
        if token in ("{", "(", "["):
            return self.group()
        self.take()
        if token == "\\frac":
            return self.group() / self.group()
        if token == "\\binom":
            return complex(math.comb(_small(self.group()), _small(self.group())))
        if token == "\\sqrt":
            root = self.group() if self.peek() == "[" else 2
            return self.group() ** (1 / root)
        return _constant(token)


def _constant(token: str) -> complex:
    if token[0].isdigit() or token[0] == ".":
        return complex(float(token))
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    if token.isalpha():
        return complex(1 + math.modf(math.sqrt(2) * ord(token))[0])
    raise ValueError


def _small(value: complex) -> int:
    if abs(value) > 1000 or value != int(value.real):
        raise ValueError
    return int(value.real)
