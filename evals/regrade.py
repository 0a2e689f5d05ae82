"""A second opinion on stored grades, and where the two part.

    python -m evals.regrade --samples samples.jsonl --grades grades.jsonl --out report.md

Every response is graded again by `evals.second_rule`, which is independent of math-verify. The
report counts, per benchmark, how often the two agree and how often each alone says "correct", and
shows the texts of the disagreements, for a reader to decide who is right.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.answers import EXTRACTORS, normalise_gold
from evals.grade import answers_argument
from evals.sample_file import (
    BadRowError,
    GradeRow,
    Sample,
    read_grades,
    read_samples,
)
from evals.second_rule import agree
from kpo.files import write_text

SHOWN = 40  # characters of an answer in the report's tables; the CSV has the whole text
SHOWN_ROWS = 200  # distinct disagreements per benchmark in the report; the CSV has every response


@dataclass(frozen=True)
class Opinion:
    """One response as both graders see it. `extracted` is None without an answer."""

    benchmark: str
    id: str
    sample: int
    gold: str
    extracted: str | None
    status: str
    graded: bool
    regraded: bool


def second_opinions(
    samples: Sequence[Sample], grades: Sequence[GradeRow], answers: str = "boxed"
) -> list[Opinion]:
    """Regrade every sample, finding its answer as in grading.

    Raises BadRowError if samples and grades are not of the same rows.
    """
    by_key = {grade.key: grade for grade in grades}
    missing = [s.key for s in samples if s.key not in by_key]
    extra = set(by_key) - {s.key for s in samples}
    if missing or extra:
        example = missing[0] if missing else min(extra)
        raise BadRowError(
            f"Samples and grades are not of the same responses: {len(missing)} samples have no "
            f"grade and {len(extra)} grades no sample, for example sample {example[2]} of "
            f"{example[0]} {example[1]}."
        )
    extract = EXTRACTORS[answers]
    return [_opinion(s, by_key[s.key], extract(s.response)) for s in samples]


def _opinion(sample: Sample, grade: GradeRow, extracted: str | None) -> Opinion:
    gold = normalise_gold(sample.benchmark, sample.answer)
    return Opinion(
        *sample.key,
        gold=gold,
        extracted=extracted,
        status=grade.status,
        graded=grade.correct,
        regraded=agree(gold, extracted or ""),
    )


def report(opinions: Sequence[Opinion]) -> str:
    """The report, Markdown."""
    benchmarks = list(dict.fromkeys(opinion.benchmark for opinion in opinions))
    lines = [
        "# Where two graders disagree",
        "",
        "`graded` is math-verify (evals.grade), `regraded` an independent rule: normalised text, "
        "then numbers (evals.second_rule). Neither is the truth; read the texts.",
        "",
        "| benchmark | responses | both correct | both wrong | only graded correct "
        "| only regraded correct | agreement |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        *(_count_row(name, [o for o in opinions if o.benchmark == name]) for name in benchmarks),
        _count_row("all", opinions),
    ]
    for name in benchmarks:
        lines += _disagreements(name, [o for o in opinions if o.benchmark == name])
    return "\n".join(lines) + "\n"


def _count_row(name: str, opinions: Sequence[Opinion]) -> str:
    count = Counter((o.graded, o.regraded) for o in opinions)
    both, neither = count[True, True], count[False, False]
    rate = f"{(both + neither) / len(opinions):.2%}" if opinions else "-"
    cells = (len(opinions), both, neither, count[True, False], count[False, True], rate)
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _disagreements(name: str, opinions: Sequence[Opinion]) -> list[str]:
    """The section of one benchmark: each distinct (problem, answer) once, with its samples."""
    groups: dict[tuple[str, str, str, str, bool], list[int]] = {}
    for o in opinions:
        if o.graded != o.regraded:
            key = (o.id, o.gold, o.extracted or "", o.status, o.graded)
            groups.setdefault(key, []).append(o.sample)
    if not groups:
        return []
    rows = [
        f"| {_cell(problem)} | {_cell(', '.join(map(str, numbers)))} | {_code(gold)} "
        f"| {_code(extracted)} | {'graded' if graded else 'regraded'} | {status} |"
        for (problem, gold, extracted, status, graded), numbers in groups.items()
    ]
    hidden = len(rows) - SHOWN_ROWS
    return [
        "",
        f"## {name}",
        "",
        "| problem | samples | gold | answer | correct only for | status |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows[:SHOWN_ROWS],
        *([f"\n{hidden} more are in the CSV."] if hidden > 0 else []),
    ]


def _cell(text: str) -> str:
    plain = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    short = plain if len(plain) <= SHOWN else plain[: SHOWN - 3] + "..."
    return "".join(c if c.isprintable() else "?" for c in short).replace("|", "\\|")


def _code(text: str) -> str:
    shown = _cell(text)
    fence = "``" if "`" in shown else "`"
    return f"{fence} {shown} {fence}" if shown else "(empty)"


def disagreements_csv(opinions: Sequence[Opinion]) -> str:
    """All responses on which the graders disagree, whole texts, lone surrogates escaped."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["benchmark", "id", "sample", "gold", "extracted", "status", "graded", "regraded"]
    )
    for o in opinions:
        if o.graded != o.regraded:
            texts = [
                t.encode("utf-8", "backslashreplace").decode() for t in (o.gold, o.extracted or "")
            ]
            writer.writerow(
                [o.benchmark, o.id, o.sample, *texts, o.status, int(o.graded), int(o.regraded)]
            )
    return out.getvalue()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evals.regrade",
        description="Grades stored responses by a second rule and reports where the two disagree.",
        epilog="Reads --samples and --grades, the JSONL files of evals.sample and evals.grade, of "
        "the same responses. Writes --out, a Markdown report: counts per benchmark, then the "
        "texts of the disagreements; and --csv, if given, one row a response on which the graders "
        "disagree. A bad line stops it with exit code 2 and nothing written.",
    )
    parser.add_argument("--samples", type=Path, required=True, help="samples.jsonl to read")
    parser.add_argument("--grades", type=Path, required=True, help="grades.jsonl to read")
    parser.add_argument("--out", type=Path, required=True, help="Markdown report to write")
    parser.add_argument("--csv", type=Path, help="CSV of the disagreements to write")
    answers_argument(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = _arguments(argv)
    try:
        opinions = second_opinions(
            read_samples(arguments.samples), read_grades(arguments.grades), arguments.answers
        )
    except BadRowError as error:
        print(f"evals.regrade: {error}", file=sys.stderr)
        return 2
    write_text(arguments.out, report(opinions))
    if arguments.csv is not None:
        write_text(arguments.csv, disagreements_csv(opinions))
    apart = sum(o.graded != o.regraded for o in opinions)
    print(f"{len(opinions)} regraded, {apart} disagreements, report in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
