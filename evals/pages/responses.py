"""Graded responses to look through: the same problems for every model, a few responses to each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError
from kpo.evals.pages.render import render
from kpo.evals.records import GradeRow, ProblemKey, Sample, read_grades, read_samples
from kpo.tasks.problems import Problem

LONGEST = 4000
"""Characters of a response that are shown, half from its beginning and half from its end."""
GRADES = ("right", "wrong", "no answer", "timeout", "error")
"""What a response was graded as; all but the first two are wrong too."""


@dataclass(frozen=True)
class Model:
    """A run and its graded responses."""

    run: str
    label: str
    graded: Sequence[tuple[Sample, GradeRow]]


def read_model(folder: Path, label: str) -> Model:
    """The responses of evals/<run>. Raises UserError where grades are of other responses."""
    samples = {sample.key: sample for sample in read_samples(folder / "samples.jsonl")}
    grades = read_grades(folder / "grades.jsonl")
    if samples.keys() != {grade.key for grade in grades}:
        raise UserError(f"{folder}: grades.jsonl does not hold the responses of samples.jsonl")
    return Model(folder.name, label, [(samples[grade.key], grade) for grade in grades])


def spread(problems: Mapping[str, Sequence[Problem]], number: int) -> dict[ProblemKey, Problem]:
    """At most so many problems of each benchmark, evenly from its first to its last."""
    found: dict[ProblemKey, Problem] = {}
    for benchmark, all_problems in problems.items():
        steps = min(number, len(all_problems))
        for step in range(steps):
            problem = all_problems[step * (len(all_problems) - 1) // max(steps - 1, 1)]
            found[benchmark, problem.id] = problem
    return found


def few(model: Model, problems: Iterable[ProblemKey]) -> list[tuple[Sample, GradeRow]]:
    """Of each problem the model's first right response and its first wrong one."""
    wanted = set(problems)
    found: dict[tuple[ProblemKey, bool], tuple[Sample, GradeRow]] = {}
    for sample, grade in model.graded:
        if grade.problem in wanted:
            found.setdefault((grade.problem, grade.correct), (sample, grade))
    return list(found.values())


def grade_of(row: GradeRow) -> str:
    """One of GRADES."""
    if row.status != "ok":
        return row.status.replace("_", " ")
    return "right" if row.correct else "wrong"


def responses_page(
    title: str, models: Sequence[Model], problems: Mapping[str, Sequence[Problem]], number: int
) -> str:
    """The page: `number` problems of each benchmark, the same for all models."""
    chosen = spread(problems, number)
    places = {key: place for place, key in enumerate(chosen)}
    golds: dict[ProblemKey, str] = {}
    rows: list[dict[str, Any]] = []
    for place, model in enumerate(models):
        for sample, grade in few(model, chosen):
            golds[sample.problem] = sample.answer
            rows.append(
                {
                    "model": place,
                    "problem": places[sample.problem],
                    "sample": sample.sample,
                    "grade": GRADES.index(grade_of(grade)),
                    "answer": grade.extracted,
                    "response": shortened(sample.response),
                    "tokens": sample.tokens,
                    "cut": sample.finish == "length",
                    "differs": ", ".join(grade.differs),
                }
            )
    told = [
        {"benchmark": key[0], "id": key[1], "text": problem.problem, "gold": golds.get(key, "")}
        for key, problem in chosen.items()
    ]
    data = {
        "models": [{"run": model.run, "label": model.label} for model in models],
        "problems": told,
        "grades": GRADES,
        "rows": sorted(rows, key=lambda row: (row["problem"], row["model"], row["grade"])),
    }
    return render("responses", title=title, data=data, number=number, longest=LONGEST)


def shortened(text: str) -> str:
    """A response of at most LONGEST characters, what is left out said in its middle."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
