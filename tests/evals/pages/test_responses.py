"""The page of responses: which are shown, how they are stored in it, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kpo.common.cli import UserError
from kpo.evals import browse
from kpo.evals.pages.responses import (
    LONGEST,
    Model,
    few,
    grade_of,
    read_model,
    responses_page,
    shortened,
    spread,
)
from kpo.evals.records import GradeRow, Sample, write_rows
from kpo.tasks.problems import Problem
from tests.evals.tuning.small import experiment

PROBLEMS = {"easy": [Problem(f"easy/{n}", f"{n} + 1 = ?", str(n + 1)) for n in range(9)]}
NASTY = "</script><img src=x onerror=alert(1)>"


def graded(n: int, sample: int, *, correct: bool, response: str = "r") -> tuple[Sample, GradeRow]:
    key = ("easy", f"easy/{n}", sample)
    found = "7" if correct else None
    status = "ok" if correct else "no_answer"
    return (
        Sample(*key, answer=str(n + 1), response=response, tokens=3, finish="stop"),
        GradeRow(*key, correct, status, found, tokens=3, finish="stop"),  # type: ignore[arg-type]
    )


def stored(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    found: dict[str, Any] = json.loads(text)
    return found


def test_problems_are_spread_over_a_benchmark() -> None:
    assert [key[1] for key in spread(PROBLEMS, 3)] == ["easy/0", "easy/4", "easy/8"]
    assert len(spread(PROBLEMS, 100)) == 9
    assert [key[1] for key in spread(PROBLEMS, 1)] == ["easy/0"]


def test_the_first_right_and_the_first_wrong_response_are_shown() -> None:
    rows = [graded(0, s, correct=s in (1, 2)) for s in range(4)] + [graded(5, 0, correct=True)]
    assert [sample.sample for sample, _ in few(Model("m", "M", rows), [("easy", "easy/0")])] == [
        0,
        1,
    ]


def test_the_page_holds_problem_gold_response_and_grade() -> None:
    rows = [graded(0, 0, correct=True, response=NASTY), graded(0, 1, correct=False)]
    page = responses_page("t", [Model("kpo-s0", "KPO", rows)], PROBLEMS, 1)
    data = stored(page)
    assert data["models"] == [{"run": "kpo-s0", "label": "KPO"}]
    assert data["problems"] == [
        {"benchmark": "easy", "id": "easy/0", "text": "0 + 1 = ?", "gold": "1"}
    ]
    right, wrong = data["rows"]
    assert (right["response"], right["answer"], data["grades"][right["grade"]]) == (
        *(NASTY, "7", "right"),
    )
    assert (wrong["answer"], data["grades"][wrong["grade"]]) == (None, "no answer")
    assert page.count("</script>") == 2  # a response ends none
    assert "http" not in page


def test_long_responses_lose_their_middle() -> None:
    text = "a" * LONGEST + "b"
    assert shortened("a" * LONGEST) == "a" * LONGEST
    assert shortened(text).startswith("a" * (LONGEST // 2) + "\n[... 1 characters left out ...]\n")
    assert shortened(text).endswith("ab")


def test_grades_are_told_by_status() -> None:
    assert grade_of(graded(0, 0, correct=True)[1]) == "right"
    timeout = GradeRow("easy", "easy/0", 0, False, "timeout", None, 3, "stop")
    assert grade_of(timeout) == "timeout"


def test_grades_of_other_responses_are_refused(tmp_path: Path) -> None:
    sample, grade = graded(0, 0, correct=True)
    write_rows(tmp_path / "samples.jsonl", [sample])
    write_rows(tmp_path / "grades.jsonl", [grade])
    assert read_model(tmp_path, "M").graded == [(sample, grade)]
    write_rows(tmp_path / "grades.jsonl", [grade, graded(0, 1, correct=True)[1]])
    with pytest.raises(UserError, match=r"grades\.jsonl does not hold the responses of"):
        read_model(tmp_path, "M")


def test_the_command_reads_an_experiment(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    lines = [json.dumps({"id": "p0", "problem": "0 + 1 = ?", "answer": "1"})]
    for benchmark in made.evaluate.benchmarks:
        path = tmp_path / f"problems/{benchmark}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    for run in ("base", "reinforce-0.0001-s100"):
        folder = tmp_path / "results/tuning/evals" / run
        write_rows(folder / "samples.jsonl", [Sample("easy", "p0", 0, "1", run, 3, "stop")])
        row = GradeRow("easy", "p0", 0, True, "ok", "1", 3, "stop")
        write_rows(folder / "grades.jsonl", [row])
    out = tmp_path / "x.html"
    options = ["--config", str(tmp_path / "tuning.yaml"), "--results", str(tmp_path / "results")]
    options += ["--problems", str(tmp_path / "problems"), "--out", str(out)]
    browse.main([*options, "--runs", "base", "reinforce-0.0001-s100"])
    data = stored(out.read_text())
    assert [model["label"] for model in data["models"]] == ["Base model", "Ratio 1, lr 0.0001"]
    assert [row["response"] for row in data["rows"]] == ["base", "reinforce-0.0001-s100"]
    with pytest.raises(SystemExit, match="2"):
        browse.main([*options, "--runs", "other"])
