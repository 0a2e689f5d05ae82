"""grading.rule: our rule and the library alone, in grades, tables, reports and settings."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from kpo.config.experiment import load_experiment
from kpo.config.file import ConfigError
from kpo.evals.grade import main as grade_main
from kpo.evals.grading.grader import Grade, Grader
from kpo.evals.grading.rules import RULES, math_verify
from kpo.evals.records import read_grades
from kpo.evals.records import write_rows as write_grades
from kpo.evals.regrade import main as regrade_main
from tests.evals.demo import make, write_rows
from tests.evals.grading.asked import NUMBERS, boxed
from tests.evals.stored import row, write

# What our rule accepts and math-verify alone does not, the other way round, and both alike.
ONLY_OURS = ("(3,4)", r"\bigl(3,4\bigr)")
ONLY_LIBRARY = ("204_5", "204_{6}")
BOTH = (r"\frac{1}{2}", "0.5")
NEITHER = ("x+1", "x+2")


@pytest.mark.parametrize("rule", RULES)
def test_one_of_them_grades_and_the_other_is_asked(rule: str) -> None:
    pairs = [(g, boxed(a)) for g, a in (ONLY_OURS, ONLY_LIBRARY, BOTH, NEITHER, ("5", "5"))]
    ours = rule == "by_kind"
    with Grader(workers=1, timeout_s=30, rule=rule, beside=True) as grader:
        grades = grader.grade([*pairs, ("5", "no box")])
    (other,) = [name for name in RULES if name != rule]
    assert [g.correct for g in grades] == [ours, not ours, True, False, True, False]
    assert [g.differs for g in grades] == [(other,), (other,), (), (), (), ()]


def test_no_other_rule_is_asked_unless_it_is_wanted() -> None:
    with Grader(workers=1, timeout_s=30) as grader:
        (grade,) = grader.grade([(ONLY_OURS[0], boxed(ONLY_OURS[1]))])
    assert grade == Grade(True, "ok", ONLY_OURS[1])


@pytest.mark.slow
def test_the_library_may_hang_where_ours_does_not() -> None:
    """What only the library does not finish is not right for it, and costs no other answer."""
    slow = ("y=x+1", "y=(1+x+z)^{200}+0")
    with Grader(workers=1, timeout_s=2, rule="math_verify") as grader:
        grades = grader.grade([(slow[0], boxed(slow[1])), (BOTH[0], boxed(BOTH[1]))])
    assert [(g.correct, g.status) for g in grades] == [(False, "timeout"), (True, "ok")]


@pytest.mark.slow
def test_numbers_that_need_no_worker_are_equal_under_the_library_too() -> None:
    for gold in NUMBERS:
        with Grader() as free:
            known = [free.grade([(gold, boxed(a))])[0] for a in ("3", "-1", r"\frac{2}{4}")]
        if all(len(g.extracted or "") < 3 for g in known):
            assert known[0].correct == math_verify(gold, "3")


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="rule must be one of by_kind, math_verify, got 'best'"):
        Grader(rule="best")


def graded(tmp_path: Path, rule: str) -> tuple[Path, Path]:
    """Samples of all four sorts and their grades by a rule."""
    pairs = (ONLY_OURS, ONLY_LIBRARY, BOTH, NEITHER)
    rows = [row(i, gold, boxed(answer)) for i, (gold, answer) in enumerate(pairs)]
    samples, out = write(tmp_path / "samples.jsonl", rows), tmp_path / "grades.jsonl"
    arguments = ["--samples", str(samples), "--out", str(out), "--timeout-s", "30"]
    grade_main([*arguments, "--rule", rule])
    return samples, out


def test_grades_say_where_the_rules_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = graded(tmp_path, "by_kind")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line.get("differs") for line in lines] == [["math_verify"]] * 2 + [None] * 2
    assert not any("rule" in line for line in lines)
    assert "2 otherwise by another rule" in capsys.readouterr().out


def test_grades_name_a_rule_that_is_not_the_default(tmp_path: Path) -> None:
    _, out = graded(tmp_path, "math_verify")
    rows = read_grades(out)
    assert [(r.correct, r.rule, r.differs) for r in rows] == [
        (False, "math_verify", ("by_kind",)),
        (True, "math_verify", ("by_kind",)),
        (True, "math_verify", ()),
        (False, "math_verify", ()),
    ]
    write_grades(out.with_name("again"), rows)
    assert out.with_name("again").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("rule", RULES)
def test_a_report_sets_all_graders_side_by_side(tmp_path: Path, rule: str) -> None:
    samples, grades = graded(tmp_path, rule)
    out, table = tmp_path / "report.md", tmp_path / "apart.csv"
    files = ["--samples", str(samples), "--grades", str(grades), "--out", str(out)]
    regrade_main([*files, "--csv", str(table)])
    report = out.read_text(encoding="utf-8")
    (other,) = [name for name in RULES if name != rule]
    assert f"| {rule} (graded) | 4 | 2 | 100.00% |" in report
    assert f"| {other} | 4 | 2 | 50.00% |" in report
    assert "| second rule (regraded) | 4 |" in report
    assert table.read_text().splitlines()[0].endswith(f"graded,regraded,{other}")


def spoil(root: Path, run: str, count: int, **changes: Any) -> None:
    """Change the first rows of a run's grades."""
    path = root / f"results/demo/evals/{run}/grades.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for changed in rows[:count]:
        changed.update(changes)
    write_rows(path, rows)


def test_a_table_says_what_depends_on_the_rule(root: Path) -> None:
    make(root)
    text = (root / "out/table1.md").read_text()
    assert "Graded by by_kind. math_verify says the opposite of 0 of" in text
    assert "no cell depends on which of the two grades" in text
    spoil(root, "gspo-s1", 3, correct=False, differs=["math_verify"])
    make(root)
    text = (root / "out/table1.md").read_text()
    share = 100 * 3 / (3 * 6 * 4)  # of three seeds, six problems, four samples
    assert "says the opposite of 3 of" in text
    assert f"1 of 10 cells would change, avg@4 most by +{share:.1f} points (GS_PO" in text
    with (root / "out/diagnostics.csv").open() as file:
        (row,) = [
            r for r in csv.DictReader(file) if (r["name"], r["benchmark"]) == ("gspo", "aime24")
        ]
    assert row["points_by_math_verify"] == row["%_otherwise_by_math_verify"] == f"{share:.2f}"


def test_grades_by_another_rule_are_refused(
    root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(root, "gspo-s1", 60, rule="math_verify")
    with pytest.raises(SystemExit):
        make(root)
    error = capsys.readouterr().err
    assert (
        "gspo-s1/grades.jsonl was graded by the rule math_verify, but the experiment's is" in error
    )
    assert error.count("\n") == 1


def test_the_setting(root: Path) -> None:
    path = root / "demo.yaml"
    assert load_experiment(path).grading.rule == "by_kind"
    path.write_text(path.read_text() + "\ngrading: { rule: math_verify }\n")
    experiment = load_experiment(path)
    assert experiment.section("grade")["grading"]["rule"] == "math_verify"
    assert experiment.section("train", "grpo")["grading"]["rule"] == "math_verify"
    path.write_text(path.read_text().replace("math_verify }", "best }"))
    with pytest.raises(ConfigError, match=r"grading\.rule.*by_kind, math_verify"):
        load_experiment(path)
