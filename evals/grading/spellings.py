r"""Tables of `respell`: characters and spellings, each with what stands for it afterwards.

A rule is a pattern and its replacement; rules are applied in the order in which they stand.
"""

# ruff: noqa: RUF001 - characters that look like others are what this is about

from __future__ import annotations

import re

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
BEFORE_COMPATIBILITY = (  # Unicode's own compatibility forms would lose these: m² is not m2
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
MACROS = str.maketrans(
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


def _rules(*lines: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in lines)


LAYOUT = _rules(
    (r"\\\\\s*\[[^\[\]]*\]", r"\\\\ "),  # row distances
    (r"(?<!\\)\$", ""),  # math delimiters; \$ is money
    (r"(?<!\\)\\[()\[\]]", " "),
    (rf"\\(?:left|right)\s*\.|\\(?:left|right|middle|[bB]igg?[lrm]?){_END}", ""),
    (r"\\(?:textcolor|color)\s*\{[^{}]*\}", ""),
    (rf"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|large|Large|hline){_END}", " "),
    (rf"\\[hv]?(?:phantom|space)\*?{_END}\s*\{{[^{{}}]*\}}", " "),
    (rf"~|(?<!\\)\\[,;:!> ]|\\(?:quad|qquad|enspace|thinspace|negthinspace){_END}", " "),
)
_RENAMED = {  # macros, and what stands for them
    "[dtc]frac|nicefrac|sfrac|flatfrac": r"\frac",
    **{"[dt]binom": r"\binom", "lg": r"\log_{10}", "colon": ":", "[lr]?vert": "|"},
    **{"simeq|doteq|sim|thickapprox": r"\approx ", "backslash|smallsetminus": r"\setminus "},
    **{"vee": r"\lor ", "wedge": r"\land ", "cr": r"\\ ", "textdollar": r"\$ "},
    **{"lbrack": "[", "rbrack": "]"},
    **{"euro|texteuro": "€", "pounds|textsterling": "£", "yen|textyen": "¥", "cent|textcent": "¢"},
    **{"upmu|micro|textmu": r"\mu ", "ohm|textohm": r"\Omega "},
}
SYNONYMS = _rules(
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
)
FONTS = _rules(
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
)
NOTATION = _rules(
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
