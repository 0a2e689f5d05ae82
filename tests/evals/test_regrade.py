"""The second rule and the report of where it and math-verify part."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpo.evals.grade import main as grade_main
from kpo.evals.grading.second_rule import agree, evaluate, respell
from kpo.evals.regrade import main
from tests.bench.bench_grade import BOMBS
from tests.patience import processor_seconds

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        (".5", 0.5),
        ("2.5e-3", 2.5e-3),
        ("1/4", 0.25),
        (r"\frac{1}{4}", 0.25),
        (r"1\frac{4}{5}", 1.8),
        (r"2\sqrt{3}", 12**0.5),
        (r"\sqrt[3]{8}", 2),
        ("2^{10}", 1024),
        ("2^-1", 0.5),
        ("-2^2", -4),
        ("2^{3}^{2}", 64),
        ("5!", 120),
        (r"\binom{5}{2}", 10),
        ("2*3+4*(5-1)/8", 8),
        ("2(3)(4)", 24),
        ("(1+i)^2", 2j),
        ("x", None),
        ("1/0", None),
        ("9^{9^{9^{9}}}", None),
        (r"\frac{1}", None),
        ("(1", None),
        ("1)", None),
        ("1+", None),
        (r"\sin{x}", None),
        ("", None),
    ],
)
def test_evaluate(text: str, value: complex | None) -> None:
    found = evaluate(text)
    if text == "x":
        assert found is not None
    elif value is None:
        assert found is None
    else:
        assert found == pytest.approx(value)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"3\sqrt{13}", r"\sqrt{117}"),
        (r"\frac{1}{2}", "0.5"),
        (r"\frac12", r"\dfrac{1}{2}"),
        ("2x+3", "3+2x"),
        (r"1\frac{4}{5}", "9/5"),
        ("6+9i", r"9\mathrm{i} + 6"),
        ("1,-2", "-2, 1"),
        ("1,-2", r"\{-2,1\}"),
        (r"1 \pm \sqrt{19}", r"1-\sqrt{19} \text{ and } 1+\sqrt{19}"),
        (r"4.5 \times 10^{33}", "4.5e33"),
        (r"4.5 \times 10^{33}", r"45 \cdot 10^{32} \text{ erg/s}"),
        ("10,080", r"10{,}080"),
        ("10080", "10,080"),
        ("52_8", "52_{8}"),
        ("x=5", "5"),
        ("f(x)=2x", "2x"),
        (r"90^\circ", r"90 \text{ degrees}"),
        (r"\text{Evelyn}", "evelyn"),
        (r"62.5\%", "0.625"),
        (r"62.5\%", "62.5"),
        (r"864 \mbox{ inches}^2", "864"),
        (r"(-\infty,2)\cup(3,\infty)", r"\left(3,\infty\right) \cup (-\infty, 2)"),
        (r"x \in [-2,7]", "[-2, 7]"),
        ("(1,2),(3,4)", "(3,4),(1,2)"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3, 0.5\pi)"),
        (r"\$18.90", "18.9"),
    ],
)
def test_agree(gold: str, answer: str) -> None:
    assert agree(gold, answer)
    assert agree(answer, gold)
    assert agree(gold, gold)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "6"),
        ("5", ""),
        ("", ""),
        ("0", "1e-9"),
        ("1e-8", "2e-8"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        ("(1,2)", "1,2,3"),
        ("1,2", "1,1"),
        ("1,1,2", "1,2,2"),
        ("(3,4]", "(3,4)"),
        ("x", "y"),
        ("p-q", "q-p"),
        ("52_8", "52_9"),
        ("1000000", "1000001.5"),
        (r"50\%", "5"),
        ("1", "-1"),
        (r"\text{east}", r"\text{west}"),
        ("9^{9^{9^{9}}}", "9^{9^{9}}"),
    ],
)
def test_disagree(gold: str, answer: str) -> None:
    assert not agree(gold, answer)
    assert not agree(answer, gold)


fractions = st.fractions(min_value=-50, max_value=50, max_denominator=30)


@given(fractions, fractions)
def test_fractions_agree_exactly_when_equal(a: Any, b: Any) -> None:
    latex = rf"\frac{{{a.numerator}}}{{{a.denominator}}}"
    assert agree(latex, f"{b.numerator}/{b.denominator}") == (a == b)
    assert agree(latex, f"{float(b):.12f}") == (a == b)


@given(st.text(alphabet="0123456789{}()[]\\,+-*/^!_.e%$x \ud800", max_size=50))
def test_anything_agrees_with_itself_or_is_empty(text: str) -> None:
    assert agree(text, text) == (respell(text) != "")
    agree("5", text)


@pytest.mark.parametrize("bomb", BOMBS, ids=[repr(b[:24]) for b in BOMBS])
def test_bombs_are_quick(bomb: str) -> None:
    content = bomb.removeprefix("\\boxed{").removesuffix("}")
    with processor_seconds(20):
        assert not agree("5", content)
        assert not agree("5", bomb)


def test_long_texts_are_compared_as_they_are() -> None:
    essay = r"\dfrac{1}{2} " * 99
    assert respell(essay) == r"\dfrac{1}{2}" * 99
    assert agree(essay, essay)
    assert not agree(essay, essay.replace("dfrac", "frac"))


# The report


def sample(number: int, benchmark: str, answer: str, response: str) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "id": f"{benchmark}/{number % 3}",
        "sample": number,
        "answer": answer,
        "response": response,
        "tokens": 5,
        "finish": "stop",
    }


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Path]:
    """Eight responses; grades 2, 4 and 5 are turned by hand, in both directions."""
    rows = [
        sample(0, "math500", "1/2", r"\boxed{0.5}"),
        sample(1, "math500", "1/2", r"\boxed{0.6}"),
        sample(2, "math500", "1/2", r"\boxed{0.50}"),
        sample(3, "minerva", r"4 \times 10^{3}", r"\boxed{4 \times 10^3}"),
        sample(4, "minerva", r"4 \times 10^{3}", "\\boxed{`a|b`\ud800}"),
        sample(7, "minerva", r"4 \times 10^{3}", "\\boxed{`a|b`\ud800}"),
        sample(5, "amc23", "7", "no box"),
        sample(6, "amc23", "7", r"\boxed{7}"),
    ]
    samples, grades = tmp_path / "samples.jsonl", tmp_path / "grades.jsonl"
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    grade_main(["--samples", str(samples), "--out", str(grades)])
    graded = [json.loads(line) for line in grades.read_text().splitlines()]
    assert [row["correct"] for row in graded] == [
        True,
        False,
        True,
        True,
        False,
        False,
        False,
        True,
    ]
    for index in (2, 4, 5):
        graded[index]["correct"] = not graded[index]["correct"]
    grades.write_text("".join(json.dumps(row) + "\n" for row in graded))
    return samples, grades


OFFICIAL = ("--answers", "boxed-or-hashes")


def arguments(stored: tuple[Path, Path], out: Path) -> list[str]:
    return ["--samples", str(stored[0]), "--grades", str(stored[1]), "--out", str(out)]


def test_answers_are_found_by_the_rule_of_the_prompt_protocol(
    stored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, grades = stored
    rows = [{**sample(9, "amc23", "7", "#### 7")}]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for answers, apart in (("boxed", 1), ("boxed-or-hashes", 0)):
        grade_main(["--samples", str(samples), "--out", str(grades), *OFFICIAL])
        main([*arguments(stored, tmp_path / "out"), "--answers", answers])
        assert f"{apart} disagreements" in capsys.readouterr().out


def test_report(stored: tuple[Path, Path], tmp_path: Path) -> None:
    out, table = tmp_path / "report.md", tmp_path / "apart.csv"
    main([*arguments(stored, out), "--csv", str(table)])
    report = out.read_text(encoding="utf-8")
    assert "| math500 | 3 | 1 | 1 | 0 | 1 | 66.67% |" in report
    assert "| minerva | 3 | 1 | 0 | 2 | 0 | 33.33% |" in report
    assert "| amc23 | 2 | 1 | 1 | 0 | 0 | 100.00% |" in report
    assert "| all | 8 | 3 | 2 | 2 | 1 | 62.50% |" in report
    assert "| math500/2 | 2 | ` 1/2 ` | ` 0.50 ` | regraded | ok |" in report
    texts = r"| minerva/1 | 4, 7 | ` 4 \times 10^{3} ` | `` `a\|b`\ud800 ``"
    assert f"{texts} | graded, math_verify | ok |" in report
    assert "## amc23" not in report
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [(r["id"], r["sample"], r["graded"], r["regraded"]) for r in rows] == [
        ("math500/2", "2", "0", "1"),
        ("minerva/1", "4", "1", "0"),
        ("minerva/1", "7", "1", "0"),
    ]
    assert rows[1]["extracted"] == r"`a|b`\ud800"


def test_a_sample_without_a_grade(
    stored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = stored[1].read_text().splitlines(keepends=True)
    stored[1].write_text("".join(lines[1:]))
    with pytest.raises(SystemExit, match="2"):
        main(arguments(stored, tmp_path / "out"))
    message = capsys.readouterr().err
    assert "1 samples have no grade and 0 grades no sample" in message
    assert "sample 0 of math500 math500/0" in message
    assert not (tmp_path / "out").exists()


def test_a_grade_cut_in_half(
    stored: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored[1].write_text(stored[1].read_text()[:-30])
    with pytest.raises(SystemExit, match="2"):
        main(arguments(stored, tmp_path / "out"))
    assert f"{stored[1]}, line 8 is not a whole JSON object" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_second_rule_is_independent() -> None:
    code = "import sys, evals.regrade; print({'math_verify', 'sympy'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
