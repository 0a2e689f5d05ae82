r"""LaTeX respelled: one spelling for what means the same, so that the rest need know only one.

`clean` is done to every gold and every answer before they are compared. It changes how a text is
written, never what it says: characters to macros (`√13` to `\sqrt{13}`), layout away (`\left`,
`\bigl`, spacing), one name for synonyms (`\dfrac`, `\leqslant`), fonts to `\text{...}`, braces
around arguments (`\frac12`), and numbers in digits (`1\,000`, `2\frac{1}{2}`, `0.\overline{3}`,
`4.5e33`). The rules are patterns with their replacements, applied in the order in which they stand.
"""

# ruff: noqa: RUF001 - characters that look like others are what this is about

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from functools import partial

from kpo.evals.grading.brackets import CLOSING, PIECE, bare, closing

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_BEFORE_COMPATIBILITY = (  # Unicode's own compatibility forms would lose these: m² is not m2
    (re.compile(f"[{''.join(_RAISED)}]+"), "^", _RAISED),
    (re.compile(f"[{''.join(_LOWERED)}]+"), "_", _LOWERED),
)
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho"
_GREEK += " varsigma sigma tau upsilon phi chi psi omega"
_SYMBOLS = r"""
    Γ \Gamma  Δ \Delta  Θ \Theta  Λ \Lambda  Ξ \Xi  Π \Pi  Σ \Sigma  Φ \Phi  Ψ \Psi  Ω \Omega
    × \times  ✕ \times  · \cdot  ⋅ \cdot  ∙ \cdot  • \cdot  ± \pm  ∓ \mp  √ \sqrt  ∞ \infty
    ≤ \le  ⩽ \le  ≥ \ge  ⩾ \ge  ≠ \ne  ≈ \approx  ≡ \equiv  … \dots  ∠ \angle  Å \AA
    ∪ \cup  ∩ \cap  ∈ \in  ∖ \setminus  ∅ \emptyset  ⌀ \emptyset  ∨ \lor  ∧ \land  ∣ \mid
    ⟨ \langle  〈 \langle  ⟩ \rangle  〉 \rangle  ⌊ \lfloor  ⌋ \rfloor  ⌈ \lceil  ⌉ \rceil
"""
_MACROS = str.maketrans(
    {
        **{chr(0x3B1 + n): rf"\{name} " for n, name in enumerate(_GREEK.split())},
        **{symbol: f"{name} " for symbol, name in re.findall(r"(\S) (\S+)", _SYMBOLS)},
        **dict.fromkeys("−–‐‑﹣－", "-"),
        **dict.fromkeys("°º˚", r"^{\circ}"),
        **dict.fromkeys("’′", "'"),
        **dict.fromkeys("÷⁄", "/"),
        **{"ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "∛": r"\sqrt[3]", "\u200b": ""},
        **{chr(code): None for code in (*range(9), *range(14, 32), 127)},
    }
)
_END = r"(?![A-Za-z])"  # of a macro's name
_WORD_MACROS = "text|textbf|textit|textrm|textnormal|textsf|texttt|textup|textsc|emph|mbox|hbox"
_WORD_MACROS += "|mathrm|operatorname|mathop|rm|bf|it|sf|tt"
_FUNCTIONS = "arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|sinh|cosh|tanh|log|ln|lg|exp|max|min|gcd"
_RENAMED = {  # macros, and what stands for them
    "[dtc]frac|nicefrac|sfrac|flatfrac": r"\frac",
    **{"[dt]binom": r"\binom", "lg": r"\log_{10}", "colon": ":", "[lr]?vert": "|"},
    **{"simeq|doteq|sim|thickapprox": r"\approx ", "backslash|smallsetminus": r"\setminus "},
    **{"vee": r"\lor ", "wedge": r"\land ", "cr": r"\\ ", "textdollar": r"\$ "},
    **{"lbrack": "[", "rbrack": "]"},
    **{"euro|texteuro": "€", "pounds|textsterling": "£", "yen|textyen": "¥", "cent|textcent": "¢"},
    **{"upmu|micro|textmu": r"\mu ", "ohm|textohm": r"\Omega "},
}
_SPELLINGS = (
    # layout
    (r"\\\\\s*\[[^\[\]]*\]", r"\\\\ "),  # row distances
    (r"(?<!\\)\$", ""),  # math delimiters; \$ is money
    (r"(?<!\\)\\[()\[\]]", " "),
    (rf"\\(?:left|right)\s*\.|\\(?:left|right|middle|[bB]igg?[lrm]?){_END}", ""),
    (r"\\(?:textcolor|color)\s*\{[^{}]*\}", ""),
    (rf"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|large|Large|hline){_END}", " "),
    (rf"\\[hv]?(?:phantom|space)\*?{_END}\s*\{{[^{{}}]*\}}", " "),
    (rf"~|(?<!\\)\\[,;:!> ]|\\(?:quad|qquad|enspace|thinspace|negthinspace){_END}", " "),
    # synonyms
    *((rf"\\(?:{old}){_END}", new.replace("\\", r"\\")) for old, new in _RENAMED.items()),
    (rf"\\(?:leqq?|leqslant){_END}|<=|=<", r"\\le "),
    (rf"\\(?:geqq?|geqslant){_END}|>=", r"\\ge "),
    (rf"\\(?:neq|not\s*=){_END}|!=|/=", r"\\ne "),
    (rf"\\lt{_END}|&lt;", "<"),
    (rf"\\gt{_END}|&gt;", ">"),
    (rf"\\(?:ldots|cdots|dotsc|dotsb|dotsm){_END}|\.\.\.+", r"\\dots "),
    (rf"\\varnothing{_END}|\\\{{\s*\\\}}", r"\\emptyset "),
    (rf"\\(?:degree|textdegree){_END}|(?<=\d)\s*\^\s*(?:o(?![A-Za-z])|\{{o\}})", r"^{\\circ}"),
    (r"\\mathring\s*\{A\}|\\mathring\s*A(?![A-Za-z])", r"\\AA "),
    (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))", r"^{\\circ}"),
    (r"(?<=\d)\{\.\}(?=\d)", "."),
    (rf"\\imath{_END}", "i"),
    (rf"\\lbrace{_END}", r"\\{"),
    (rf"\\rbrace{_END}", r"\\}"),
    (rf"\\(?:mathbb|mathbf|mathrm)\s*R{_END}|\\(?:R|Reals){_END}", r"\\mathbb{R}"),
    (r"\\(?:mathbf|mathrm)\s*\{R\}(?=\s*(?:\Z|\\setminus))", r"\\mathbb{R}"),
    (rf"\\(?:mathbf|mathit|mathsf|mathnormal|boldsymbol|bm|pmb|vec|underline){_END}\s*", ""),
    (r"\\begin\{(?:[bB]?|small)matrix\}|\\begin\{array\}\s*(?:\{[^{}]*\})?", r"\\begin{pmatrix}"),
    (r"\\end\{(?:[bB]?matrix|smallmatrix|array)\}", r"\\end{pmatrix}"),
    (r"\\times|\\cdot|\\ast(?![A-Za-z])|(?<=\d)\s*[*]\s*(?=\d)", r"\\cdot "),
    (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\cdot "),
    (r"(?<!\\)(?:infinity|\binf\b)", r"\\infty "),
    # fonts, and words that are mathematics
    (r"\{\s*\\(?:rm|bf|it|sf|tt)\s+([^{}]*)\}", r"\\text{\1}"),
    (rf"\\(?:{_WORD_MACROS})\*?\s*\{{", r"\\text{"),
    (rf"\\(?:{_WORD_MACROS})\s*([A-Za-z0-9])(?![A-Za-z])", r"\\text{\1}"),
    (r"\\text\{\s*\\?([%$€£¥¢])\s*\}", r"\\\1"),
    (r"\\([€£¥¢])", r"\1"),
    (rf"\\text\{{\s*({_FUNCTIONS})\s*\}}", r"\\\1 "),
    (r"\\text\{\s*([ie]|[A-Z]{2,5})\s*\}(?!\s*/)", r" \1 "),  # upright i, e, MR
    (r"\\text\{\s*(?:percent|per cent|pct)\s*\}|(?<=\d)\s*(?:percent|per cent|pct)\b", r"\\%"),
    (r"(?<!\\)%", r"\\%"),
    (r",?\s*\\text\{\s*,?\s*(?:and|&)\s*,?\s*\}|,?\s*(?<![\\A-Za-z])\band\b", r"\\land "),
    (r",?\s*\\text\{\s*,?\s*or\s*,?\s*\}|,?\s*(?<![\\A-Za-z])\bor\b", r"\\lor "),
    (r"\\text\{\s*\\&\s*\}|\\&", r"\\land "),
    (r"\\text\{((?:[-+\d.,/ ]|\\land |\\lor |\\infty )*)\}", r"\1"),
    (r"\A\s*\\text\{[^{}]*\b(?:is|are|equals?)\s*:?\s*\}", ""),  # The answer is
    (r"\A\s*\\text\{\s*([-+]?\d[\d,.]*)\s+([^{}]*)\}", r"\1\\text{ \2}"),  # 125 miles
    (r"\\text\{\s*(?:approximately|about|around|roughly|approx\.?)\s*\}", r"\\approx "),
    (r"\A(?:approximately|about|around|roughly|approx\.?) (?=[-\d\\])", r"\\approx "),
    (r"\^\s*(\\text\{[^{}]*\})", r"^{\1}"),
    # subscripts in words do not parse: \lambda_{\text{red}}, M_\odot, m_{\max}
    (r"_\s*\{\s*\\text\{\s*([^{}]*?)\s*\}\s*\}|_\s*\\text\{\s*([^{}]*?)\s*\}", r"_{\1\2}"),
    (r"_\s*(?:\{\s*\\odot\s*\}|\\odot(?![A-Za-z]))", "_{sun}"),
    (r"_\s*\{\s*\\(max|min)\s*\}|_\s*\\(max|min)(?![A-Za-z])", r"_{\1\2}"),
    # notation
    (r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    (r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"(?<![\\A-Za-z])sqrt(?=\s*[({\d])", r"\\sqrt"),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\^\s*\(([^()]*)\)", r"^{\1}"),
    (r"([_^])\s*([-+]?\d+|[A-Za-z])", r"\1{\2}"),
    (r"([_^])\s+(?=\{)", r"\1"),
    (r"(\\frac|\\binom|\\sqrt|\^|_)\s+(?=[\[{])", r"\1"),
    (r"\A\s*\]([^\[\]]*)\[\s*\Z", r"(\1)"),  # ]1, 2[ is (1, 2)
    (r"\A\s*\]([^\[\]]*)\]\s*\Z", r"(\1]"),
    (r"\A\s*\[([^\[\]]*)\[\s*\Z", r"[\1)"),
    (r"\\notin(?![A-Za-z])(.*)\Z", r"\\in \\mathbb{R} \\setminus (\1)"),
    (r"(?<=\d)\s+(\d+)\s*/\s*(\d+)\Z", r"\\frac{\1}{\2}"),  # 2 1/2
    (r"(?<![A-Za-z\\])E(?=\s*_)", r"\\mathcal{E}"),  # E is Euler's e, with an index nothing
    (r"\\gamma(?![A-Za-z]|\s*_)", "g_{gamma}"),  # Euler's constant; \gamma^{2}-1 is zoo
    (r"(?<=[A-Za-z)}\]])''(?!')", r"^{\\prime\\prime}"),  # quotes are dropped: y' would be y
    (r"(?<=[A-Za-z)}\]])'(?!')", r"^{\\prime}"),
    (r"\^\s*\\prime(?![A-Za-z])", r"^{\\prime}"),
)
_RULES = tuple((re.compile(pattern), replacement) for pattern, replacement in _SPELLINGS)
_compatible = partial(unicodedata.normalize, "NFKC")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_ARGUMENTS = re.compile(r"(\\frac|\\binom|\\sqrt(?:\[[^\[\]]*\])?)(?![A-Za-z])")
_SEPARATOR = r"\s*(?:\\[,;:> ]|,?\\!|~|\{,\}|\s)\s*"  # `, ` is a list's, `,` may be either's
_GROUPED = re.compile(rf"(?<![\d.,^_])(\d{{1,3}})((?:{_SEPARATOR}\d{{3}})+)(?!\d)")
_COMMAS = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+)(?![\d,])")
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
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = _braced(text)
    text = re.sub(r"\^\s*(\\frac\{[^{}]*\}\{[^{}]*\})", r"^{\1}", text)
    text = _REPEATING.sub(_repeating, text)
    text = _ELLIPSIS.sub(lambda m: _fraction(m[1], m[2], m[3] or m[4]), text)
    text = _MIXED.sub(_mixed, text)
    return bare(_TAIL.sub("", " ".join(text.split())))


def scientific(text: str) -> str:
    """`4.5e33` as `4.5 \\times 10^{33}`."""
    return _E_NOTATION.sub(lambda m: rf"{m[1]} \times 10^{{{m[2].replace('+', '')}{m[3]}}}", text)


def ungrouped(text: str) -> str:
    """`1,000` as 1000, if it is no pair or list: outside `(` and `[`, with no comma beside it.

    Where a list is asked for, `100,200,300` may be one all the same.
    """
    before, number, behind = (*_COMMAS.split(text, 1), "", "")[:3]
    if "," in before + behind or any(before.count(a) > before.count(b) for a, b in ("()", "[]")):
        return text
    return before + number.replace(",", "") + behind


def _characters(text: str) -> str:
    """Macros for characters; Unicode's compatibility forms (full width, ligatures) as plain."""
    for pattern, mark, plain in _BEFORE_COMPATIBILITY:
        text = pattern.sub(lambda m: f"{mark}{{{''.join(plain[c] for c in m[0])}}}", text)  # noqa: B023
    text = re.sub(r"√\s*(\d+(?:\.\d+)?)", r"\\sqrt{\1}", text)
    text = _VULGAR.sub(lambda m: rf"\frac{{{_compatible(m[0]).replace('⁄', '}{')}}}", text)
    text = text.translate(_MACROS)
    return text if text.isascii() else _compatible(text).translate(_MACROS)


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
    return found[0] if above >= below else rf"\frac{{{whole * below + above}}}{{{below}}}"
