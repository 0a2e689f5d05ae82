"""Extraction, cleaning, golds: what is right is graded right, and what is wrong wrong."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpo.evals.grading.brackets import nesting
from kpo.evals.grading.extract import extract_boxed, extract_boxed_or_hashes
from kpo.evals.grading.golds import NORMALISERS, normalise_gold
from kpo.evals.grading.grader import MAX_ANSWER_CHARS, Grade, check_golds
from kpo.evals.grading.respell import clean
from tests.evals.grading.cases import (
    BENCHMARK_FILES,
    CASES,
    COUNTS,
    Case,
    graded_by_one,
    normaliser_of,
)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{5}", "5"),
        (r"so $\boxed{ \frac{1}{2} }$.", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} then \fbox{2}", "2"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{x = \fbox{5}}", "x = 5"),
        (r"\boxed{\frac{\boxed{1}}{\boxed{2}}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed{1 \\ {2}}", r"1 \\ {2}"),
        (r"\\boxed{5}", "5"),
        (r"\boxed{}", ""),
        (r"\boxed{1} \boxed{", "1"),
        (r"\boxed{ {1} \boxed{2}", "2"),
        ("}}}} \\boxed{3} }}}}", "3"),
        ("{{{{ \\boxed{3} {{{{", "3"),
        ("\\boxed{a\x00\ud800\U0001f600}", "a\x00\ud800\U0001f600"),
        ("\\boxed{1\n2}", "1\n2"),
        ("".join(rf"\boxed{{{n}}}" for n in range(50)), "49"),
        ("", None),
        ("5", None),
        (r"\boxed{5", None),
        (r"boxed{5}", None),
        (r"\boxed 5", None),
        (r"\boxedx{5}", None),
        (r"\boxed{{{{{5}", None),
    ],
)
def test_extract_boxed(response: str, answer: str | None) -> None:
    assert extract_boxed(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("so\n#### 42", "42"),
        ("#### 1 \n#### \\frac{1}{2} \nas asked", "\\frac{1}{2}"),
        ("####\n\n 7\n", "7"),
        ("\\boxed{3}, that is\n#### 4", "3"),
        ("#### \\boxed{5}", "5"),
        ("#### 6 and \\boxed{7", "6 and \\boxed{7"),
        ("####", ""),
        ("### 8", None),
        ("", None),
        ("so #### 5", "5"),
        ("#### **5**", "5"),
        ("#### Answer: 5", "5"),
        ("#### **Answer:** 5", "5"),
        ("#### **Answer: 5**", "5"),
        ("#### Final answer: $\\frac{1}{2}$", "$\\frac{1}{2}$"),
        ("#### The answer is 5", "5"),
        ("#### The final answer is: **5**", "5"),
        ("#### `5`", "5"),
        ("#### *5*", "5"),
        ("#### 5 ####", "5"),
        ("#### Answer\n\n5", "5"),
        ("#### Answer:\n```\n5\n```\n", "5"),
        ("#### 5\n\n#### Explanation\nWe add 2 and 3.", "5"),
        ("#### 5\n\n#### Check\n2 + 3 = 5", "5"),
        ("#### Step 1: add\n2 + 3\n#### 5", "5"),
        ("#### 5\n#### 2. Verification\nfine", "5"),
        ("#### 5 apples\n#### Note that 7 would be the wrong count here\nfor sure", "5 apples"),
        ("#### east\n#### Explanation\nThe sun rises there.", "east"),
        ("##### 6\n#### 5", "5"),
        ("##### 6", None),
        ("#### answerable", "answerable"),
        ("#### x = 5", "x = 5"),
        ("#### -5", "-5"),
        ("#### $5", "$5"),
    ],
)
def test_a_line_behind_hashes_counts_where_there_is_no_box(
    response: str, answer: str | None
) -> None:
    assert extract_boxed_or_hashes(response) == answer


@pytest.mark.parametrize(
    "unit", [r"\boxed{", "{", "}", "{}", r"\frac", r"\{", "\\", r"\boxed{}", r"\boxed{{}", "7"]
)
def test_extraction_is_linear(unit: str) -> None:
    def seconds(characters: int) -> float:
        text = r"\boxed{" + unit * (characters // len(unit))
        start = time.process_time()
        extract_boxed(text)
        return time.process_time() - start

    assert seconds(1_000_000) < 40 * max(seconds(100_000), 0.01)


UNITS = (
    "a",
    "a ",
    "per ",
    "of in ",
    "1",
    "1 ",
    "1,",
    "'",
    "{",
    "\\{",
    "(1,",
    "=",
    "\\pm",
    "E_",
    "i",
)


@pytest.mark.parametrize("start", ["", "5 ", "(", "x=", "\\text{", "_{\\text{"])
def test_cleaning_is_quick(start: str) -> None:
    begin = time.process_time()
    for unit in (*UNITS, "\\,", "$", " ", ". ", "\\text{", "\\angle A", "\\odot", "_", "\\max"):
        text = start + unit * (MAX_ANSWER_CHARS // len(unit)) + "!"
        clean(text)
        for normalise in NORMALISERS.values():
            normalise(text)
    assert time.process_time() - begin < 3


@given(st.text(alphabet="\\{}bx1 $,'i^_.\ud800", max_size=60))
def test_nothing_raises(text: str) -> None:
    for answer in (text, extract_boxed(text) or "", extract_boxed(f"\\boxed{{{text}}}") or ""):
        assert isinstance(clean(answer), str)
        assert 0 <= nesting(answer) <= len(answer)
        assert all(isinstance(normalise(answer), str) for normalise in NORMALISERS.values())


@pytest.fixture(scope="module")
def graded() -> dict[tuple[str, str], Grade]:
    """All cases through one grader: (gold, answer) -> grade."""
    pairs = [(c.normalised, answer) for c in CASES for answer in (*c.right, *c.wrong)]
    return graded_by_one(pairs, timeout_s=30)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[f"{c.benchmark}: {c.gold[:40]}" for c in CASES])
def test_golds_match_what_is_right_and_nothing_else(
    case: Case, graded: dict[tuple[str, str], Grade]
) -> None:
    gold = case.normalised
    assert case._replace(gold=gold).normalised == gold
    refused = [a for a in case.right if graded[gold, a] != Grade(True, "ok", a.strip())]
    accepted = [a for a in case.wrong if graded[gold, a] != Grade(False, "ok", a.strip())]
    assert not refused, f"{gold} should equal {refused}"
    assert not accepted, f"{gold} should not equal {accepted}"


@pytest.mark.slow
def test_odd_golds_are_usable() -> None:
    check_golds([(c.gold, c.normalised) for c in CASES])


@pytest.mark.parametrize(
    "gold",
    [
        "",
        "5 +",
        "x+" * 999 + "x",
        r"\frac{1}{",
        "np.arcsin(10/13",
        "#",
        r"\frac{1}{3} E_{1}+\frac{2}{3} \@",
    ],
)
def test_unusable_golds_are_named(gold: str) -> None:
    with pytest.raises(ValueError, match=r"problem 7.*(parse|too long)") as error:
        check_golds([("problem 6", r"\dfrac{9}{7}"), ("problem 7", gold), ("problem 8", "8")])
    assert repr(gold) in str(error.value)
    assert "problem 6" not in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(
    not BENCHMARK_FILES,
    reason="no benchmark files: set KPO_BENCHMARKS to a folder of them to test all golds",
)
def test_all_golds_of_the_local_benchmarks() -> None:
    golds: list[tuple[str, str]] = []
    for path in BENCHMARK_FILES:
        name = path.stem
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(rows) == COUNTS[name]
        for row in rows:
            gold = normalise_gold(normaliser_of(name), row["answer"])
            assert normalise_gold(normaliser_of(name), gold) == gold
            assert clean(clean(gold)) == clean(gold)
            assert len(re.findall(r"\d[eE]-?\d|np\.|\$", gold.replace(r"\$", ""))) == 0
            golds.append((f"{name} {row['id']}", gold))
    check_golds(golds)
