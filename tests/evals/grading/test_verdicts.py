r"""Verdicts: kinds of answers, respelled golds, changed golds, what is deliberately not accepted.

Cases of one's own lie in kinds.txt; where `shared/cases` is beside the repository, those too.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from kpo.evals.grading.grader import Grade, Grader, check_golds
from kpo.evals.grading.respell import clean
from kpo.evals.grading.terms import parse
from kpo.evals.grading.units import quantity
from tests.evals.grading.cases import BENCHMARK_FILES, CASES, KINDS, Case, graded_by_one
from tests.evals.respellings import cases, misjudged, rates, read_golds

SHARED = Path(__file__).resolve().parents[4] / "shared" / "cases" / "grading.jsonl"


@pytest.fixture(scope="module")
def graded() -> dict[tuple[str, str], Grade]:
    """All cases through one grader: (gold, answer) -> grade."""
    pairs = [(c.gold, answer) for c in KINDS for answer in (*c.right, *c.wrong)]
    return graded_by_one(pairs, timeout_s=60)


@pytest.mark.slow
@pytest.mark.parametrize("case", KINDS, ids=[f"{c.benchmark}: {c.gold[:40]}" for c in KINDS])
def test_kinds_of_answers(case: Case, graded: dict[tuple[str, str], Grade]) -> None:
    refused = [a for a in case.right if not graded[case.gold, a].correct]
    accepted = [a for a in case.wrong if graded[case.gold, a].correct]
    assert not refused, f"{case.gold} should equal {refused}"
    assert not accepted, f"{case.gold} should not equal {accepted}"


@pytest.mark.slow
def test_golds_of_all_kinds_are_usable() -> None:
    check_golds([(f"{c.benchmark}", c.gold) for c in KINDS])


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not beside the repository")
def test_reported_cases() -> None:
    rows = [json.loads(line) for line in SHARED.read_text(encoding="utf-8").splitlines()]
    with Grader(workers=2, timeout_s=60) as grader:
        grades = grader.grade([(r["gold"], r["response"]) for r in rows])
    assert [r["id"] for r, g in zip(rows, grades, strict=True) if g.correct != r["right"]] == []


@pytest.mark.slow
def test_respelled_golds_are_accepted_and_changed_ones_refused() -> None:
    """All golds of golds.txt, and a sample of the benchmarks' where their files are at hand."""
    golds = [c.normalised for c in CASES]
    golds += random.Random(0).sample(read_golds(BENCHMARK_FILES), 25) if BENCHMARK_FILES else []
    found = cases(dict.fromkeys(golds))
    wrong = misjudged(found)
    assert wrong == [], rates(found, wrong)
    assert sum(case.right for case in found) > 10 * len(set(golds))
    assert sum(not case.right for case in found) > 2 * len(set(golds))


@pytest.mark.parametrize("case", [*KINDS, *CASES], ids=lambda case: case.gold[:40])
def test_respelling_twice_changes_nothing_more(case: Case) -> None:
    for text in (case.gold, *case.right, *case.wrong):
        assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("text", "respelled"),
    [
        ("$5$", "5"),
        (r"\(5\)", "5"),
        ("5.", "5"),
        (r"5 \, ", "5"),
        ("\u22125", "-5"),
        ("5\x00", "5"),
        ("90\u00b0", r"90^{\circ}"),
        (r"10\,080", "10080"),
        (r"10,\!080", "10080"),
        (r"5,\,100", r"5, 100"),
        ("5, 100", "5, 100"),
        ("4.5e33", r"4.5 \cdot 10^{33}"),
        ("-1E-05", r"-1 \cdot 10^{-5}"),
        ("2e", "2e"),
        ("2e+x", "2e+x"),
        (r"62.5 \text{ percent}", r"62.5 \%"),
        (r"M_\odot", "M_{sun}"),
        ("y'", r"y^{\prime}"),
        (r"\frac12", r"\frac{1}{2}"),
        (r"\frac\pi2", r"\frac{\pi}{2}"),
        (r"\frac{\sqrt2}3", r"\frac{\sqrt{2}}{3}"),
        (r"2\frac12", r"\frac{5}{2}"),
        (r"2\frac52", r"2\frac{5}{2}"),
        (r"x^2\frac12", r"x^{2}\frac{1}{2}"),
        (r"0.1\overline{6}", r"\frac{1}{6}"),
        (r"\bigl(1,2\bigr]", "(1,2]"),
        (r"{(1,2)}", "(1,2)"),
        (r"(1)(2)", "(1)(2)"),
        ("\u221a13", r"\sqrt{13}"),
    ],
)
def test_respelling(text: str, respelled: str) -> None:
    assert clean(text) == respelled


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        (r"\$18.90", "18.90", "dollar"),
        ("18.90 dollars", "18.90", "dollar"),
        ("12 square inches", "12", "inch2"),
        (r"15\text{ cm}^2", "15", "centimeter2"),
        (r"41.8 \frac{\text{km}}{\text{s}}", "41.8", "?"),
        ("41.8 eV", "41.8", "?"),
        (r"90^{\circ}", "90", "degree"),
        ("3n", "3n", ""),
        ("3 n", "3 n", ""),
        ("3 m", "3", "meter"),
        ("x m", "x m", ""),
        ("3 million", r"1000000 \cdot 3", ""),
        (r"12 \text{ or more}", r"12 \text{\lor more}", ""),
    ],
)
def test_units(text: str, value: str, unit: str) -> None:
    assert quantity(clean(text), gold=False) == (value, unit)


def test_a_golds_letter_is_a_variable() -> None:
    assert quantity("6 m", gold=True) == ("6 m", "")


def test_letters_keep_their_case() -> None:
    names = [str(symbol) for text in ("m", "M", "E", "I") for symbol in parse(text).free_symbols]
    assert len(set(names)) == 4
