"""Grade the answers of stored responses.

    python -m evals.grade --samples samples.jsonl --out grades.jsonl

`evals.grading.grader` says how. The command asks the rules beside the one that grades too, and
notes in a row which say the opposite, so that a table can tell what depends on the rule. With
--config a task grades its own responses (`kpo.tasks.task.Task.grade`), and no rule is asked beside.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from kpo.common.cli import UserError, command
from kpo.common.lock import hold
from kpo.evals.grading.extract import answers_argument
from kpo.evals.grading.golds import normalise_gold, normaliser_argument
from kpo.evals.grading.grader import Grade, Grader, grade
from kpo.evals.grading.rules import DEFAULT, RULES
from kpo.evals.grading.statuses import FAILURES
from kpo.evals.records import GradeRow, Sample, read_samples, write_rows

__all__ = ["Grade", "grade"]


def grade_by_rule(
    samples: Sequence[Sample], grader: Grader, normaliser: str | None
) -> list[GradeRow]:
    """Grade stored responses against the golds stored with them, which `normaliser` makes plain."""
    pairs = [(normalise_gold(normaliser, s.answer), s.response) for s in samples]
    with tqdm(total=len(pairs), desc="grading", unit="response") as bar:
        grades = grader.grade(pairs, on_done=bar.update)
    return _rows(samples, grades, grader.rule)


def grade_by_task(samples: Sequence[Sample], grader: Grader, config: str) -> list[GradeRow]:
    """Grade stored responses as an experiment's task does in training, golds as they are."""
    from kpo.config.experiment import load_experiment  # noqa: PLC0415 - few tasks need it
    from kpo.tasks.task import grades  # noqa: PLC0415

    experiment = load_experiment(config)
    if not experiment.grades_itself:
        raise UserError(f"--config {config}: has no task with a grade of its own; leave it out")
    found = grades(experiment.task, [(s.answer, s.response) for s in samples], grader)
    return _rows(samples, [replace(g, differs=()) for g in found], experiment.rule)


def _rows(samples: Sequence[Sample], grades: Sequence[Grade], rule: str) -> list[GradeRow]:
    return [
        GradeRow(*s.key, g.correct, g.status, g.extracted, s.tokens, s.finish, rule, g.differs)
        for s, g in zip(samples, grades, strict=True)
    ]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evals.grade",
        description="Grades the answers of stored responses.",
        epilog="Reads --samples, one JSON object a line: benchmark, id, sample, answer (the "
        "gold, LaTeX without the box), response, tokens, finish (stop or length). Writes --out, "
        "in the same order: benchmark, id, sample, correct, status (ok, no_answer, timeout or "
        "error), extracted (the answer's text or null), tokens, finish; then rule, unless it is "
        "the default, and differs, the other rules that say the opposite, where there are any. A "
        "bad line stops it with exit code 2 and nothing written.",
    )
    parser.add_argument("--samples", type=Path, required=True, help="samples.jsonl to read")
    parser.add_argument("--out", type=Path, required=True, help="grades.jsonl to write")
    parser.add_argument("--workers", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument(
        "--timeout-s", type=float, default=5.0, help="for one comparison (default %(default)s)"
    )
    parser.add_argument(
        "--memory-mb", type=int, default=2048, help="for one process (default %(default)s)"
    )
    answers_argument(parser)
    normaliser_argument(parser)
    parser.add_argument(
        "--rule", choices=RULES, default=DEFAULT, help="what says that an answer is right"
    )
    parser.add_argument(
        "--config", help="experiment file (YAML) whose task grades itself: grade as the task does"
    )
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = _arguments(argv)
    if arguments.config and arguments.normaliser:
        raise UserError("--normaliser has no use beside --config: a task reads its golds itself")
    hold(arguments.out)
    samples = read_samples(arguments.samples)
    grader = Grader(
        workers=arguments.workers,
        timeout_s=arguments.timeout_s,
        memory_mb=arguments.memory_mb,
        answers=arguments.answers,
        rule=arguments.rule,
        beside=arguments.config is None,
    )
    with grader:
        if arguments.config is None:
            rows = grade_by_rule(samples, grader, arguments.normaliser)
        else:
            rows = grade_by_task(samples, grader, arguments.config)
    write_rows(arguments.out, rows)
    counts = Counter(row.status for row in rows)
    correct = sum(row.correct for row in rows)
    others = ", ".join(f"{counts[status]} {status}" for status in FAILURES)
    apart = sum(bool(row.differs) for row in rows)
    print(f"{len(rows)} graded, {correct} correct, {others}, {apart} otherwise by another rule")


if __name__ == "__main__":
    main()
