"""Answers as text: find the one that counts, clean it, put each benchmark's golds into plain LaTeX.

`clean` is done to every gold and every boxed answer before they are compared; it only respells
(`90°` as `90^\\circ`, `4.5e33` as `4.5 \\times 10^{33}`), so that math-verify reads what was meant.
`NORMALISERS` repair what is odd in one benchmark's golds; each is a pure function of the gold and
changes nothing when applied twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(r"\\\\?(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BOXES = ("\\boxed", "\\fbox")
_BRACKET = re.compile(r"[()\[\]{}]")


def extract_boxed(text: str) -> str | None:
    """Content of the last balanced `\\boxed{...}` or `\\fbox{...}`, or None.

    Of nested boxes the outermost counts, with the boxes inside it opened: the answer of
    `\\boxed{\\boxed{5}}` is `5`. Escaped braces do not count. One pass, linear in the text.
    """
    span = _last_box(text)
    if span is None:
        return None
    return _open_boxes(text[slice(*span)]).strip()


def extract_boxed_or_hashes(text: str) -> str | None:
    """What `extract_boxed` finds, or else the line behind the last `####`, or None."""
    boxed = extract_boxed(text)
    if boxed is not None:
        return boxed
    _, mark, rest = text.rpartition("####")
    return rest.strip().partition("\n")[0].strip() if mark else None


EXTRACTORS: dict[str, Callable[[str], str | None]] = {
    "boxed": extract_boxed,
    "boxed-or-hashes": extract_boxed_or_hashes,
}
"""Where a response's answer is, by the name that prompt protocols have for it."""


def _last_box(text: str) -> tuple[int, int] | None:
    first = min((at for name in _BOXES if (at := text.find(name)) >= 0), default=None)
    if first is None:
        return None
    depth = 0
    open_boxes: list[tuple[int, int]] = []  # (depth outside the box, start of its content)
    last: tuple[int, int] | None = None
    for token in _TOKEN.finditer(text, first):
        is_box = len(token[0]) > 2
        if is_box:
            open_boxes.append((depth, token.end()))
        if is_box or token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if open_boxes and open_boxes[-1][0] == depth:
                last = (open_boxes.pop()[1], token.start())
    return last


def _open_boxes(content: str) -> str:
    """Replace every `\\boxed{x}` inside by `x`."""
    if not any(name in content for name in _BOXES):
        return content
    parts: list[str] = []
    closes_box: list[bool] = []
    end = 0
    for token in _TOKEN.finditer(content):
        is_box = len(token[0]) > 2
        closing = token[0] == "}" and bool(closes_box) and closes_box.pop()
        if token[0] == "{" or is_box:
            closes_box.append(is_box)
        if is_box or closing:
            parts.append(content[end : token.start()])
            end = token.end()
    return "".join([*parts, content[end:]])


def bracket_depth(text: str) -> int:
    """How deep round, square and curly brackets nest, escaped ones included."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        if bracket in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif depth:
            depth -= 1
    return deepest


_UNICODE = str.maketrans(
    {
        "\u2212": "-",
        "\u2013": "-",
        "\u00d7": r"\times ",
        "\u00b7": r"\cdot ",
        "\u00b0": r"^{\circ}",
        "\u03c0": r"\pi ",
        "\u221e": r"\infty ",
        "\u2264": r"\le ",
        "\u2265": r"\ge ",
        "\u222a": r"\cup ",
        "\u2208": r"\in ",
        "\u00a0": " ",
        "\u200b": "",
        **{chr(code): None for code in (*range(9), *range(14, 32), 127)},
    }
)
_NAME = r"\\(?:text|textrm|textit|mathrm|mathit|operatorname|mbox|rm)"
_WORD_UNIT = re.compile(
    r"(-?\$?\d[\d,]*(?:\.\d+)?)\s+(?!(?:thousand|million|billion|trillion|dozen|hundred|infinity)\b)"
    r"(?:of|in|[A-Za-z]{3,})(?:\s+(?:of|in|[A-Za-z]{3,}))*"
)
_E_NOTATION = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)[eE]([+-]?)0*(\d+)(?=$|\s|\\)")
# Each respelling with its reason, in the order in which they are done.
_RESPELLINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<!\\)\$", ""),  # math delimiters; \$ is money
        (r"^\\[(\[](.*)\\[)\]]$", r"\1"),
        (r"~|(?<!\\)\\ ", " "),
        (r"(?<=\d)(?:\\,|,?\\!|\{,\})\s?(?=\d{3}(?!\d))", ""),  # 10\,080
        (rf"{_NAME}\s*\{{\s*(?:percent|\\?%)\s*\}}", r"\\%"),  # dropped as a unit otherwise
        (rf"{_NAME}\s*\{{\s*([ie]|[A-Z]{{2,5}})\s*\}}", r" \1 "),  # upright i, e, MR
        # subscripts in words do not parse: \lambda_{\text{red}}, M_\odot, m_{\max}
        (rf"_\s*\{{\s*{_NAME}\s*\{{\s*([^{{}}]*?)\s*\}}\s*\}}", r"_{\1}"),
        (rf"_\s*{_NAME}\s*\{{\s*([^{{}}]*?)\s*\}}", r"_{\1}"),
        (r"_\s*(?:\{\s*\\odot\s*\}|\\odot(?![A-Za-z]))", "_{sun}"),
        (r"_\s*\{\s*\\(max|min)\s*\}|_\s*\\(max|min)(?![A-Za-z])", r"_{\1\2}"),
        (r"(?<![A-Za-z\\])E(?=\s*_)", r"\\mathcal{E}"),  # E is Euler's e, with an index nothing
        (r"\\gamma(?![A-Za-z]|\s*_)", "g_{gamma}"),  # Euler's constant; \gamma^{2}-1 is zoo
        (r"(?<=[A-Za-z)}\]])''(?!')", r"^{\\prime\\prime}"),  # quotes are dropped: y' would be y
        (r"(?<=[A-Za-z)}\]])'(?!')", r"^{\\prime}"),
        (r"^[A-Za-z]\s*\\in(?![A-Za-z])\s*", ""),  # x \in [-2,7]
        (r"\\angle\s*[A-Z][A-Z_{}\d ]*=\s*", ""),  # \angle A B C_{1} = 90
        # y = \pm x and (1, \pm 2) do not parse, or not as two
        (r"^([^=,\\]*=)\s*\\pm(?![A-Za-z])([^=,]*)$", r"\1\2, \1-\2"),
        (r"\(([^()]*,)\s*\\pm(?![A-Za-z])([^()]*)\)(?<!\\)", r"(\1\2), (\1-\2)"),
    )
)
_TAIL = re.compile(r"(?:\\[,;:! ]|(?<!\\)[.,;:\s])+\Z")


def clean(answer: str) -> str:
    """Respell an answer or a gold so that math-verify reads what it means."""
    text = answer.translate(_UNICODE).strip()
    for pattern, replacement in _RESPELLINGS:
        text = pattern.sub(replacement, text)
    text = _TAIL.sub("", text.strip())
    words = _WORD_UNIT.fullmatch(text)
    return _ordered(scientific(text if words is None else words[1]))


def _ordered(text: str) -> str:
    """`16,3,1,1` in brackets: a list with a repeated number is no set, unless all are the same."""
    numbers = [number.strip() for number in text.split(",")]
    repeats = 1 < len(set(numbers)) < len(numbers)
    whole = all(re.fullmatch(r"-?\d{1,9}", number) for number in numbers)
    thousands = all(re.fullmatch(r"\d{3}", number) for number in numbers[1:])
    return f"({text})" if repeats and whole and not thousands else text


def scientific(text: str) -> str:
    """`4.5e33`, alone or before a unit, as `4.5 \\times 10^{33}`."""
    found = _E_NOTATION.match(text)
    if found is None:
        return text
    sign, mantissa, exponent_sign, exponent = found.groups()
    power = f"{exponent_sign.replace('+', '')}{exponent}"
    return f"{sign}{mantissa} \\times 10^{{{power}}}{text[found.end() :]}"


def _integers(gold: str) -> str:
    """AIME answers have leading zeros (`025`)."""
    text = gold.strip()
    return str(int(text)) if re.fullmatch(r"0\d{1,8}", text) else text


def _trailing_letter(gold: str) -> str:
    """`6m` as `6(m)`: math-verify takes a last letter after a number for a unit and drops it."""
    return re.sub(r"([\d}])\s*([cdghlmost])\Z", r"\1(\2)", gold)


def _minerva(gold: str) -> str:
    """Python spellings (`np.arcsin(10/13)`, `-1./3`, `4e33`), stray dollars, trailing variables."""
    text = " ".join(gold.replace("$", "").split())
    text = re.sub(r"\bnp\.arcsin", r"\\arcsin", text)
    text = re.sub(r"(?<=\d)\./(?=\d)", "/", text)
    text = re.sub(r"^\\frac\{d ?[A-Za-z]\}\{d ?[a-z]\}=", "", text)  # then it may be left out
    return _trailing_letter(scientific(text))


def _olympiadbench(gold: str) -> str:
    """Dollars, a full stop, a typo, words after the answer, a name with a subscript before it."""
    text = " ".join(re.sub(r"(?<!\\)\$", "", gold).split())
    text = re.sub(r",? where .*", "", text).rstrip(". ")
    text = re.sub(r"^[a-z](?=\([^()]*\]$)", "", text)  # t(0,4]
    text = re.sub(r"^[a-z]_\{\\max ?\}=", "", text)
    return _trailing_letter(text)


NORMALISERS: dict[str, Callable[[str], str]] = {
    "aime24": _integers,
    "aime25": _integers,
    "amc23": _integers,
    "gsm8k": _integers,
    "math500": str.strip,
    "minerva": _minerva,
    "olympiadbench": _olympiadbench,
}


def normalise_gold(benchmark: str, gold: str) -> str:
    """The gold of a benchmark as plain LaTeX (unchanged for an unknown benchmark)."""
    normaliser = NORMALISERS.get(benchmark)
    return gold if normaliser is None else normaliser(gold)
