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

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_BEFORE_COMPATIBILITY = (  # Unicode's own compatibility forms would lose these: m² is not m2
    (re.compile(f"[{''.join(_RAISED)}]+"), "^", _RAISED),
    (re.compile(f"[{''.join(_LOWERED)}]+"), "_", _LOWERED),
)
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho"
_GREEK += " varsigma sigma tau upsilon phi chi psi omega"
_MACROS = str.maketrans(
    {
        **{chr(0x3B1 + n): rf"\{name} " for n, name in enumerate(_GREEK.split())},
        **{
            letter: rf"\{name} "
            for letter, name in zip(
                "ΓΔΘΛΞΠΣΦΨΩ",
                ["Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega"],
                strict=True,
            )
        },
        **{dash: "-" for dash in "−–‐‑﹣－"},
        **dict.fromkeys("×✕", r"\times "),
        **dict.fromkeys("·⋅∙•", r"\cdot "),
        **dict.fromkeys("°º˚", r"^{\circ}"),
        **dict.fromkeys("’′", "'"),
        **dict.fromkeys("⟨〈", r"\langle "),
        **dict.fromkeys("⟩〉", r"\rangle "),
        **dict.fromkeys("∅⌀", r"\emptyset "),
        "÷": "/",
        "⁄": "/",
        "∞": r"\infty ",
        "≤": r"\le ",
        "⩽": r"\le ",
        "≥": r"\ge ",
        "⩾": r"\ge ",
        "≠": r"\ne ",
        "≈": r"\approx ",
        "≡": r"\equiv ",
        "±": r"\pm ",
        "∓": r"\mp ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∖": r"\setminus ",
        "∨": r"\lor ",
        "∧": r"\land ",
        "∣": r"\mid ",
        "∠": r"\angle ",
        "ℝ": r"\mathbb{R}",
        "ℤ": r"\mathbb{Z}",
        "…": r"\dots ",
        "√": r"\sqrt ",
        "∛": r"\sqrt[3]",
        "⌊": r"\lfloor ",
        "⌋": r"\rfloor ",
        "⌈": r"\lceil ",
        "⌉": r"\rceil ",
        "Å": r"\AA ",
        "\u200b": "",
        **{chr(code): None for code in (*range(9), *range(14, 32), 127)},
    }
)
_END = r"(?![A-Za-z])"  # of a macro's name
_WORD_MACROS = "text|textbf|textit|textrm|textnormal|textsf|texttt|textup|textsc|emph|mbox|hbox"
_WORD_MACROS += "|mathrm|operatorname|mathop|rm|bf|it|sf|tt"
_FUNCTIONS = "arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|sinh|cosh|tanh|log|ln|lg|exp|max|min|gcd"
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"


def _rules(*lines: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in lines)


_LAYOUT = _rules(
    (r"\\\\\s*\[[^\[\]]*\]", r"\\\\ "),  # row distances
    (r"(?<!\\)\$", ""),  # math delimiters; \$ is money
    (r"(?<!\\)\\[()\[\]]", " "),
    (rf"\\(?:left|right)\s*\.|\\(?:left|right|middle|[bB]igg?[lrm]?){_END}", ""),
    (r"\\(?:textcolor|color)\s*\{[^{}]*\}", ""),
    (rf"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|large|Large|hline){_END}", " "),
    (rf"\\[hv]?(?:phantom|space)\*?{_END}\s*\{{[^{{}}]*\}}", " "),
    (rf"~|(?<!\\)\\[,;:!> ]|\\(?:quad|qquad|enspace|thinspace|negthinspace){_END}", " "),
)
_SYNONYMS = _rules(
    (rf"\\(?:[dtc]|nice|s|flat)frac{_END}", r"\\frac"),
    (rf"\\[dt]binom{_END}", r"\\binom"),
    (rf"\\(?:leqq?|leqslant){_END}|<=|=<", r"\\le "),
    (rf"\\(?:geqq?|geqslant){_END}|>=", r"\\ge "),
    (rf"\\(?:neq|not\s*=){_END}|!=|/=", r"\\ne "),
    (rf"\\lt{_END}|&lt;", "<"),
    (rf"\\gt{_END}|&gt;", ">"),
    (rf"\\(?:simeq|doteq|sim|thickapprox){_END}", r"\\approx "),
    (rf"\\(?:ldots|cdots|dotsc|dotsb|dotsm){_END}|\.\.\.+", r"\\dots "),
    (rf"\\varnothing{_END}|\\\{{\s*\\\}}", r"\\emptyset "),
    (rf"\\(?:degree|textdegree){_END}|(?<=\d)\s*\^\s*(?:o(?![A-Za-z])|\{{o\}})", r"^{\\circ}"),
    (r"\\mathring\s*\{A\}|\\mathring\s*A(?![A-Za-z])", r"\\AA "),
    (rf"\\colon{_END}", ":"),
    (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))", r"^{\\circ}"),
    (rf"\\(?:backslash|smallsetminus){_END}", r"\\setminus "),
    (rf"\\(?:vee){_END}", r"\\lor "),
    (rf"\\(?:wedge){_END}", r"\\land "),
    (rf"\\lbrace{_END}", r"\\{"),
    (rf"\\rbrace{_END}", r"\\}"),
    (rf"\\(?:lbrack){_END}", "["),
    (rf"\\(?:rbrack){_END}", "]"),
    (rf"\\(?:[lr]?vert){_END}", "|"),
    (rf"\\(?:mathbb|mathbf|mathrm)\s*R{_END}|\\(?:R|Reals){_END}", r"\\mathbb{R}"),
    (rf"\\(?:mathbf|mathrm)\s*\{{R\}}(?=\s*(?:\Z|\\setminus))", r"\\mathbb{R}"),
    (rf"\\(?:mathbf|mathit|mathsf|mathnormal|boldsymbol|bm|pmb|vec|underline){_END}\s*", ""),
    (r"\\begin\{(?:[bB]?|small)matrix\}|\\begin\{array\}\s*(?:\{[^{}]*\})?", r"\\begin{pmatrix}"),
    (r"\\end\{(?:[bB]?matrix|smallmatrix|array)\}", r"\\end{pmatrix}"),
    (r"\\times|\\cdot|\\ast(?![A-Za-z])|(?<=\d)\s*[*]\s*(?=\d)", r"\\cdot "),
    (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\cdot "),
    (r"\\euro(?![A-Za-z])|\\texteuro(?![A-Za-z])", "€"),
    (r"\\(?:pounds|textsterling)(?![A-Za-z])", "£"),
    (r"\\(?:yen|textyen)(?![A-Za-z])", "¥"),
    (r"\\(?:cent|textcent)(?![A-Za-z])", "¢"),
    (r"\\(?:upmu|micro|textmu)(?![A-Za-z])", r"\\mu "),
    (r"\\(?:ohm|textohm)(?![A-Za-z])", r"\\Omega "),
    (r"(?<!\\)(?:infinity|\binf\b)", r"\\infty "),
)
_FONTS = _rules(
    (rf"\{{\s*\\(?:rm|bf|it|sf|tt)\s+([^{{}}]*)\}}", r"\\text{\1}"),
    (rf"\\(?:{_WORD_MACROS})\*?\s*\{{", r"\\text{"),
    (rf"\\(?:{_WORD_MACROS})\s*([A-Za-z0-9])(?![A-Za-z])", r"\\text{\1}"),
    (rf"\\text\{{\s*\\?([%$€£¥¢])\s*\}}", r"\\\1"),
    (r"\\([€£¥¢])", r"\1"),
    (rf"\\text\{{\s*({_FUNCTIONS})\s*\}}", r"\\\1 "),
    (r"\\text\{\s*([ie]|[A-Z]{2,5})\s*\}(?!\s*/)", r" \1 "),  # upright i, e, MR
    (r"\\text\{\s*(?:percent|per cent|pct)\s*\}|(?<=\d)\s*(?:percent|per cent|pct)\b", r"\\%"),
    (r"(?<!\\)%", r"\\%"),
    (r",?\s*\\text\{\s*,?\s*(?:and|&)\s*,?\s*\}|,?\s*(?<![\\A-Za-z])\band\b", r"\\land "),
    (r",?\s*\\text\{\s*,?\s*or\s*,?\s*\}|,?\s*(?<![\\A-Za-z])\bor\b", r"\\lor "),
    (r"\\text\{([-+\d.,/ ]*|\s*\\infty\s*)\}", r"\1"),
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
_NOTATION = _rules(
    (r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    (r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"(?<![\\A-Za-z])sqrt(?=\s*[({\d])", r"\\sqrt"),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\^\s*\(([^()]*)\)", r"^{\1}"),
    (r"([_^])\s*([-+]?\d+|[A-Za-z])", r"\1{\2}"),
    (r"([_^])\s+(?=\{)", r"\1"),
    (r"(\\frac|\\binom|\\sqrt|\^|_)\s+(?=[\[{])", r"\1"),
    (r"(?<=\d)\s+(\d+)\s*/\s*(\d+)\Z", r"\\frac{\1}{\2}"),  # 2 1/2
    (r"(?<![A-Za-z\\])E(?=\s*_)", r"\\mathcal{E}"),  # E is Euler's e, with an index nothing
    (r"\\gamma(?![A-Za-z]|\s*_)", "g_{gamma}"),  # Euler's constant; \gamma^{2}-1 is zoo
    (r"(?<=[A-Za-z)}\]])''(?!')", r"^{\\prime\\prime}"),  # quotes are dropped: y' would be y
    (r"(?<=[A-Za-z)}\]])'(?!')", r"^{\\prime}"),
    (r"\^\s*\\prime(?![A-Za-z])", r"^{\\prime}"),
)
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
    text = _GROUPED.sub(lambda m: m[1] + re.sub(r"\D", "", m[2]), _characters(answer))
    for rules in (_LAYOUT, _SYNONYMS, _FONTS, _NOTATION):
        for pattern, replacement in rules:
            text = pattern.sub(replacement, text)
    text = _braced(scientific(text))
    text = re.sub(r"\^\s*(\\frac\{[^{}]*\}\{[^{}]*\})", r"^{\1}", text)
    text = _REPEATING.sub(_repeating, text)
    text = _ELLIPSIS.sub(lambda m: _fraction(m[1], m[2], m[3] or m[4]), text)
    text = _MIXED.sub(_mixed, text)
    return bare(_TAIL.sub("", " ".join(text.split())))


def scientific(text: str) -> str:
    """`4.5e33` as `4.5 \\times 10^{33}`."""
    return _E_NOTATION.sub(
        lambda m: rf"{m[1]} \cdot 10^{{{m[2].replace('+', '')}{m[3]}}}",
        text,
    )


def bare(text: str) -> str:
    """Without braces or brackets around the whole, unless they make a pair or a set of it."""
    while True:
        text = text.strip()
        if text[:1] not in ("{", "(") or closing(text, 0) != len(text) - 1:
            return text
        if text[0] == "(" and split(text[1:-1], {",", ";"})[1:]:
            return text
        text = text[1:-1]


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


_PIECE = re.compile(r"\\begin\{\w+\}|\\end\{\w+\}|\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPENING = {"(", "[", "{", "\\{", "\\langle", "\\lfloor", "\\lceil"}
_CLOSING = {")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil"}


def _depths(text: str) -> list[tuple[str, int, int]]:
    """Each piece (macro or character) with its place and the brackets open before it."""
    found, depth = [], 0
    for piece in _PIECE.finditer(text):
        if piece[0] in _CLOSING or piece[0].startswith("\\end{"):
            depth -= 1
        found.append((piece[0], piece.start(), depth))
        if piece[0] in _OPENING or piece[0].startswith("\\begin{"):
            depth += 1
    return found


def closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; -1 if nowhere."""
    pieces = _depths(text[start:])
    return next((start + at for _, at, depth in pieces[1:] if depth == 0), -1)


def split(text: str, separators: set[str]) -> list[str]:
    """The parts between separators (characters or macros) that stand outside all brackets."""
    parts, start = [], 0
    for piece, at, depth in _depths(text):
        if depth == 0 and piece in separators:
            parts.append(text[start:at].strip())
            start = at + len(piece)
    return [*parts, text[start:].strip()]


def _characters(text: str) -> str:
    """Macros for characters; Unicode's compatibility forms (full width, ligatures) as plain."""
    for pattern, mark, plain in _BEFORE_COMPATIBILITY:
        text = pattern.sub(lambda m: f"{mark}{{{''.join(plain[c] for c in m[0])}}}", text)  # noqa: B023
    text = _VULGAR.sub(_vulgar, re.sub(r"√\s*(\d+(?:\.\d+)?)", r"\\sqrt{\1}", text))
    text = text.translate(_MACROS)
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_MACROS)


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
    found = _PIECE.match(text, at)
    if found is None or found[0] in _CLOSING:
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
