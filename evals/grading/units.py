r"""Values with units behind or before them: `41.8\,\Omega`, `30 km/h`, `\$18.90`, `62 \%`.

An answer may leave its unit out or put the problem's in, so a unit is taken off before values are
compared; only where both have one, and the two are known to differ, are they different.
"""

from __future__ import annotations

import re

from kpo.evals.grading.structure import squeeze
from kpo.evals.grading.terms import parse, same

_PREFIXES = "k M G T m c d n p"
_PREFIXED = "m g s Hz J N W V A Pa eV L l pc bar mol rad Bq cal T F yr"
_NAMES = """
    degree degrees deg; radian radians rad; percent; dollar dollars USD usd bucks; cent cents
    euro euros EUR; pound pounds GBP lb lbs; meter meters metre metres m
    centimeter centimeters centimetre centimetres cm; mile miles mi; inch inches in; foot feet ft
    millimeter millimeters millimetre millimetres mm; kilometer kilometers kilometre kilometres km
    yard yards yd yds; second seconds sec secs s; minute minutes min mins; hour hours hr hrs h
    day days; week weeks; month months; year years yr yrs; gram grams g; kilogram kilograms kg kgs
    liter liters litre litres L; milliliter milliliters millilitres mL ml
"""  # a unit, and behind it its other spellings
_KNOWN = {word: words.split()[0] for words in re.split("[;\n]", _NAMES) for word in words.split()}
_KNOWN |= {"$": "dollar", "€": "euro", "£": "pound", "¢": "cent", r"^{\circ}": "degree"}
_LONE = "K C F l h hr hrs min yd ft lb lbs oz mi mph kmh kph rpm atm ml mL cc th st nd rd am pm sq"
_LONE += " cu erg dyn ly AU ppm db dB Gyr Myr sr in"
_SHORT = {
    *_LONE.split(),
    *_PREFIXED.split(),
    *(prefix + unit for prefix in _PREFIXES.split() for unit in _PREFIXED.split()),
}
_POWER = r"(?:\s*\^\{?-?\d\}?)?"
_SYMBOL = (
    r"\\text\{(?:[^{}]|\{[^{}]*\})*\}|\^\{\\circ\}\s*(?:\\text\{\s*[CFK]\s*\}|[CFK](?![A-Za-z]))?|\\Omega|\\AA"
    r"|\\mu\s*(?:\\text\{\s*[A-Za-z]{1,3}\s*\}|[msgAVFJWLH](?![A-Za-z]))|\\?[€£¥¢₹]"
    r"|[MRL]_\{(?:sun|\\oplus)\}|\^\{\s*(?:\\text\{\s*)?(?:th|st|nd|rd)\s*\}?\s*\}"
)
_BARE = r"(?<![A-Za-z\\_^{])[A-Za-z]+(?![A-Za-z(_])\.?"
_ONE = rf"(?:{_SYMBOL}|{_BARE}){_POWER}"
_MANY = rf"{_ONE}(?:\s*(?:/|\\cdot|\\land)?\s*{_ONE})*"
_UNIT = re.compile(rf"\s*(?:\\frac\{{\s*{_MANY}\s*\}}\{{\s*{_MANY}\s*\}}|{_MANY})\s*\Z")
_LETTERS = re.compile(r"(?<![A-Za-z\\])[A-Za-z]+(?![A-Za-z])")
_MONEY = re.compile(r"(?:\\text\{\s*)?(?:US\s*)?(\\\$|[€£¥₹¢]|USD|EUR|GBP|Rs\.?)\s*\}?\s*")
_AREA = re.compile(r"(sq(?:uare)?\s+|cu(?:bic)?\s+)?([^\s^]+|\^\{\\circ\})(?:\s*\^\{(\d)\})?")
_TEXT = re.compile(r"\\text\{((?:[^{}]|\{[^{}]*\})*)\}")
_LIFTED = re.compile(r"\^\s*\{?-?\d\}?")
_WITH_MACRO = re.compile(r"\\mu\s*[A-Za-z]|[MRL]_\{\w+\}|\^\{\\circ\}\s*[CFK]|\^\{[a-z]{2}\}")
_COUNTS = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6}
_COUNTS |= {"billion": 10**9, "trillion": 10**12}
_COUNT = re.compile(rf"(.*\d)\s*(?:\\text\{{)?\s*({'|'.join(_COUNTS)})\b\s*([^{{}}]*)\}}?\s*")
# What makes of a number another one, or none.
_NO_UNIT = re.compile(
    r"\\l(?:or|and)\b|\b(?:not|or|least|most|except|mod|base|squared|factorial|infinity|if|"
    r"times|plus|minus|over|sqrt|choose)\b|\d"
)


def quantity(text: str, *, gold: bool) -> tuple[str, str]:
    """The text without its unit, and the unit's name ("" for none, "?" for an unknown one).

    A gold's bare single letter is a variable: `6m` counts the cells of a board.
    """
    counted = _COUNT.fullmatch(text)
    if counted is not None:
        behind = counted[3] and f" \\text{{{counted[3]}}}"
        number, unit = quantity(counted[1] + behind, gold=gold)
        return rf"{_COUNTS[counted[2]]} \cdot {number}", unit
    money = _MONEY.match(text.lstrip("-+ "))
    if money is not None:
        sign = "-" if text.lstrip().startswith("-") else ""
        return sign + text.lstrip("-+ ")[money.end() :], _KNOWN.get(money[1].lstrip("\\"), "?")
    for at in range(1, len(text)):
        if not (text[at] in r" \^€£¥¢₹" or text[at - 1] in "0123456789)}]"):
            continue
        found = _UNIT.match(text, at)
        if found and _is_unit(text[:at], found[0], gold=gold):
            return text[:at].strip(), _name(found[0])
    return text, ""


def _is_unit(head: str, unit: str, *, gold: bool) -> bool:
    """Whether `unit` may be dropped: it is of words, or of known letters behind a number."""
    head = head.strip()
    if not head or head[-1] in "+-*/^_=<>({[,&:":
        return False
    if any(head.count(left) != head.count(right) for left, right in ("{}", "()")):
        return False
    if _NO_UNIT.search(_LIFTED.sub("", _TEXT.sub(r" \1 ", unit))):
        return False
    letters = _LETTERS.findall(_TEXT.sub("", _WITH_MACRO.sub("", unit)))
    if letters and _LETTERS.search(_TEXT.sub("", head)):
        return False  # x cm: a product
    one_may = unit.startswith(" ") and not gold
    return all(len(w) > 2 or (w in _SHORT and (len(w) > 1 or one_may)) for w in letters)


def _name(unit: str) -> str:
    """A known unit with its power, `centimeter2`; "?" for any other."""
    plain = _TEXT.sub(r"\1", unit).replace(".", " ").strip()
    found = _AREA.fullmatch(plain)
    if found is None or (name := _KNOWN.get(found[2])) is None:
        return "?"
    return name + (found[3] or {"sq": "2", "cu": "3"}.get((found[1] or "")[:2], ""))


def same_quantity(gold: str, answer: str) -> bool | None:
    """A value with or without its unit, or percent sign."""
    wanted, given = quantity(gold, gold=True), quantity(answer, gold=False)
    named = {unit or "percent" * text.endswith("\\%") for text, unit in (wanted, given)}
    if len(named - {"", "?"}) > 1:
        return False
    return any(_same_percent(wanted[0], reading) for reading in dict.fromkeys((given[0], answer)))


def _same_percent(gold: str, answer: str) -> bool:
    """A percentage is the number before its sign, and a hundredth of it."""
    wanted, given = (text.removesuffix("\\%").strip() for text in (gold, answer))
    if same_terms(wanted, given):
        return True
    if (wanted == gold) == (given == answer):
        return False
    if wanted != gold:
        return same_terms(f"({wanted})/100", answer)
    return same_terms(gold, f"({given})/100")


def same_terms(gold: str, answer: str) -> bool:
    """Whether two terms without units are the same; degree signs are dropped."""
    if squeeze(gold) == squeeze(answer) != "":
        return True
    wanted, given = parse(gold.replace("^{\\circ}", "")), parse(answer.replace("^{\\circ}", ""))
    return wanted is not None and given is not None and same(wanted, given)
