"""Values: terms with or without a unit or a percent sign, respelled but for these."""

from __future__ import annotations

from evals.grading.structure import squeeze
from evals.grading.terms import parse, same
from evals.grading.units import conflict, quantity


def same_quantity(gold: str, answer: str) -> bool | None:
    """A value with or without its unit, or percent sign."""
    wanted, unit = quantity(gold, gold=True)
    given, other = quantity(answer, gold=False)
    percent = [
        unit or ("percent" if text.endswith("\\%") else "")
        for text, unit in ((wanted, unit), (given, other))
    ]
    if conflict(*percent):
        return False
    readings = [given] if given == answer else [given, answer]
    return any(_same_percent(wanted, reading) for reading in readings)


def _same_percent(gold: str, answer: str) -> bool:
    """A percentage is the number before its sign, and a hundredth of it."""
    wanted, given = (text.removesuffix("\\%").strip() for text in (gold, answer))
    if same_terms(wanted, given):
        return True
    if (wanted == gold) == (given == answer):
        return False
    hundredth = [
        one if bare_one == one else f"({bare_one})/100"
        for one, bare_one in ((gold, wanted), (answer, given))
    ]
    return same_terms(*hundredth)


def same_terms(gold: str, answer: str) -> bool:
    """Whether two terms without units are the same; degree signs are dropped."""
    if squeeze(gold) == squeeze(answer) != "":
        return True
    wanted, given = parse(gold.replace("^{\\circ}", "")), parse(answer.replace("^{\\circ}", ""))
    return wanted is not None and given is not None and same(wanted, given)
