r"""LaTeX respelled: one spelling for what means the same, so that the rest need know only one.

`clean` is done to every gold and every answer before they are compared. It changes how a text is
written, never what it says: characters to macros (`√13` to `\sqrt{13}`), layout away (`\left`,
`\bigl`, spacing), one name for synonyms (`\dfrac`, `\leqslant`), fonts to `\text{...}`, braces
around arguments (`\frac12`), and numbers in digits (`1\,000`, `2\frac{1}{2}`, `0.\overline{3}`,
`4.5e33`). The rules are tables, each line with its reason where it needs one; their order matters.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from evals.grading.brackets import CLOSING, PIECE, bare, closing
from evals.grading.spellings import (
    BEFORE_COMPATIBILITY,
    FONTS,
    LAYOUT,
    MACROS,
    NOTATION,
    SYNONYMS,
)

_VULGAR = re.compile("[¼½¾⅐-⅞]")
_ARGUMENTS = re.compile(r"(\\frac|\\binom|\\sqrt(?:\[[^\[\]]*\])?)(?![A-Za-z])")
_SEPARATOR = r"\s*(?:\\[,;:> ]|,?\\!|~|\{,\}|\s)\s*"  # `, ` is a list's, `,` may be either's
_GROUPED = re.compile(rf"(?<![\d.,^_])(\d{{1,3}})((?:{_SEPARATOR}\d{{3}})+)(?!\d)")
_COMMAS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_REPEATING = re.compile(
    r"(\d*)\.(\d*)(?:\\(?:overline|bar)\s*\{?(\d+)\}?|\\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)?"
    r"|\((\d+)\)(?=\Z))"
)
_ELLIPSIS = re.compile(r"(?<![\d.])(\d*)\.(\d*?)(?:(\d)\3{2,}|(\d{2,}?)\4+)\s*\\dots\s*\Z")
_MIXED = re.compile(r"(?<![\d.,^_}A-Za-z])(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}(?!\s*[\^!])")
_E_NOTATION = re.compile(r"(?<![\w.])(\d+\.?\d*|\.\d+)[eE]([+-]?)0*(\d+)(?![\w.])")
_TAIL = re.compile(r"(?:(?<!\\)[.,;:\s])+\Z")


def clean(answer: str) -> str:
    """Respell an answer or a gold; done twice it changes nothing more."""
    text = scientific(_characters(answer))
    text = _GROUPED.sub(lambda m: m[1] + re.sub(r"\D", "", m[2]), text)
    for rules in (LAYOUT, SYNONYMS, FONTS, NOTATION):
        for pattern, replacement in rules:
            text = pattern.sub(replacement, text)
    text = _braced(text)
    text = re.sub(r"\^\s*(\\frac\{[^{}]*\}\{[^{}]*\})", r"^{\1}", text)
    text = _REPEATING.sub(_repeating, text)
    text = _ELLIPSIS.sub(lambda m: _fraction(m[1], m[2], m[3] or m[4]), text)
    text = _MIXED.sub(_mixed, text)
    return bare(_TAIL.sub("", " ".join(text.split())))


def scientific(text: str) -> str:
    """`4.5e33` as `4.5 \\times 10^{33}`."""
    return _E_NOTATION.sub(
        lambda m: rf"{m[1]} \times 10^{{{m[2].replace('+', '')}{m[3]}}}",
        text,
    )


def ungrouped(text: str) -> str:
    """`1,000` as 1000, if it is no pair or list: outside `(` and `[`, with no comma beside it.

    Where a list is asked for, `100,200,300` may be one all the same.
    """
    found = _COMMAS.search(text)
    if found is None or "," in text[: found.start()] + text[found.end() :]:
        return text
    before = text[: found.start()]
    if any(before.count(left) > before.count(right) for left, right in ("()", "[]")):
        return text
    return before + found[0].replace(",", "") + text[found.end() :]


def _characters(text: str) -> str:
    """Macros for characters; Unicode's compatibility forms (full width, ligatures) as plain."""
    for pattern, mark, plain in BEFORE_COMPATIBILITY:
        text = pattern.sub(lambda m: f"{mark}{{{''.join(plain[c] for c in m[0])}}}", text)  # noqa: B023
    text = _VULGAR.sub(_vulgar, re.sub(r"√\s*(\d+(?:\.\d+)?)", r"\\sqrt{\1}", text))
    text = text.translate(MACROS)
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(MACROS)


def _vulgar(found: re.Match[str]) -> str:
    above, below = unicodedata.normalize("NFKC", found[0]).split("\N{FRACTION SLASH}")
    return rf"\frac{{{above}}}{{{below}}}"


def _braced(text: str) -> str:
    """Braces around the arguments of fractions and roots, taken as TeX takes them: `\\frac12`.

    From the last to the first, so that an argument's own arguments are already in braces.
    """
    for macro in reversed(list(_ARGUMENTS.finditer(text))):
        at, arguments = macro.end(), []
        for _ in range(1 if macro[1].startswith("\\sqrt") else 2):
            at += len(text[at:]) - len(text[at:].lstrip())
            end = _argument_end(text, at)
            argument = text[at:end]
            arguments.append(argument if argument.startswith("{") else f"{{{argument}}}")
            at = end
        text = text[: macro.end()] + "".join(arguments) + text[at:]
    return text


def _argument_end(text: str, at: int) -> int:
    """Where the argument that begins at `at` ends: a group, a macro with its groups, a letter."""
    if text[at : at + 1] == "{":
        return closing(text, at) + 1 or len(text)
    found = PIECE.match(text, at)
    if found is None or found[0] in CLOSING:
        return at
    end = found.end()
    while _ARGUMENTS.fullmatch(found[0]) and text[end : end + 1] in ("{", "["):
        end = closing(text, end) + 1 or len(text)
    return end


def _repeating(found: re.Match[str]) -> str:
    whole, fixed, block, first, middle, last, bracketed = found.groups()
    if first is not None:
        block = first + ((middle or "") + last if last else "")
    return _fraction(whole, fixed, block or bracketed)


def _fraction(whole: str, fixed: str, block: str) -> str:
    """`whole.fixed` and then `block` for ever, as a fraction."""
    value = Fraction(int(f"{whole or 0}{fixed}"), 10 ** len(fixed))
    value += Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(fixed))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _mixed(found: re.Match[str]) -> str:
    whole, above, below = map(int, found.groups())
    if above >= below:
        return found[0]
    return rf"\frac{{{whole * below + above}}}{{{below}}}"
