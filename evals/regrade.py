"""What every grader says of stored answers, and where they part.

    python -m evals.regrade --samples samples.jsonl --grades grades.jsonl --out report.md

Side by side stand the rule that graded, the others of `evals.grading.rules` (whose verdicts the
grades hold where they differ), and `second_rule`, which is independent of math-verify and is asked
now. The report counts, per benchmark, what each finds correct and how often they agree, and shows
the texts of the disagreements, for a reader to decide who is right.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.grading.extract import EXTRACTORS, answers_argument
from evals.grading.golds import normalise_gold
from evals.grading.rules import DEFAULT, RULES
from evals.grading.second_rule import agree
from evals.records import BadRowError, GradeRow, Sample, read_grades, read_samples
from kpo.common.files import write_text

SHOWN = 40  # characters of an answer in the report's tables; the CSV has the whole text
SHOWN_ROWS = 200  # distinct disagreements per benchmark in the report; the CSV has every response


@dataclass(frozen=True)
class Opinion:
    """One response as all graders see it. `extracted` is None without an answer.

    others: the verdicts of the rules that did not grade.
    """

    benchmark: str
    id: str
    sample: int
    gold: str
    extracted: str | None
    status: str
    graded: bool
    regraded: bool
    others: Mapping[str, bool]

    @property
    def apart(self) -> bool:
        """Whether the graders part."""
        return len({self.graded, self.regraded, *self.others.values()}) > 1

    def right_for(self) -> list[str]:
        """Who finds it correct."""
        verdicts = {"graded": self.graded, "regraded": self.regraded, **self.others}
        return [name for name, verdict in verdicts.items() if verdict]


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
        others={
            rule: grade.correct != (rule in grade.differs) for rule in RULES if rule != grade.rule
        },
    )


def report(opinions: Sequence[Opinion], rule: str) -> str:
    """The report, Markdown, on grades by `rule`."""
    benchmarks = list(dict.fromkeys(opinion.benchmark for opinion in opinions))
    lines = [
        "# Where graders disagree",
        "",
        f"`graded` is the rule {rule} (evals.grade), `regraded` an independent one: normalised "
        "text, then numbers (evals.grading.second_rule). Neither is the truth; read the texts.",
        "",
        "| benchmark | responses | both correct | both wrong | only graded correct "
        "| only regraded correct | agreement |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        *(_count_row(name, [o for o in opinions if o.benchmark == name]) for name in benchmarks),
        _count_row("all", opinions),
        "",
        *_all_graders(opinions, rule),
    ]
    for name in benchmarks:
        lines += _disagreements(name, [o for o in opinions if o.benchmark == name])
    return "\n".join(lines) + "\n"


def _all_graders(opinions: Sequence[Opinion], rule: str) -> list[str]:
    """What each grader finds correct, and how often it agrees with the one that graded."""
    verdicts = {
        f"{rule} (graded)": [o.graded for o in opinions],
        **{
            name: [o.others[name] for o in opinions]
            for name in (opinions[0].others if opinions else ())
        },
        "second rule (regraded)": [o.regraded for o in opinions],
    }
    graded = [o.graded for o in opinions]
    lines = ["| grader | responses | correct | agrees with graded |", "| --- | --: | --: | --: |"]
    for name, found in verdicts.items():
        same = sum(one == other for one, other in zip(graded, found, strict=True))
        rate = f"{same / len(found):.2%}" if found else "-"
        lines.append(f"| {name} | {len(found)} | {sum(found)} | {rate} |")
    return lines


def _count_row(name: str, opinions: Sequence[Opinion]) -> str:
    count = Counter((o.graded, o.regraded) for o in opinions)
    both, neither = count[True, True], count[False, False]
    rate = f"{(both + neither) / len(opinions):.2%}" if opinions else "-"
    cells = (len(opinions), both, neither, count[True, False], count[False, True], rate)
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _disagreements(name: str, opinions: Sequence[Opinion]) -> list[str]:
    """The section of one benchmark: each distinct (problem, answer) once, with its samples."""
    groups: dict[tuple[str, str, str, str, str], list[int]] = {}
    for o in opinions:
        if o.apart:
            key = (o.id, o.gold, o.extracted or "", o.status, ", ".join(o.right_for()))
            groups.setdefault(key, []).append(o.sample)
    if not groups:
        return []
    rows = [
        f"| {_cell(problem)} | {_cell(', '.join(map(str, numbers)))} | {_code(gold)} "
        f"| {_code(extracted)} | {right_for} | {status} |"
        for (problem, gold, extracted, status, right_for), numbers in groups.items()
    ]
    hidden = len(rows) - SHOWN_ROWS
    return [
        "",
        f"## {name}",
        "",
        "| problem | samples | gold | answer | correct for | status |",
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
    names = ["benchmark", "id", "sample", "gold", "extracted", "status", "graded", "regraded"]
    writer.writerow([*names, *(opinions[0].others if opinions else ())])
    for o in opinions:
        if o.apart:
            texts = [
                t.encode("utf-8", "backslashreplace").decode() for t in (o.gold, o.extracted or "")
            ]
            verdicts = (o.graded, o.regraded, *o.others.values())
            writer.writerow([o.benchmark, o.id, o.sample, *texts, o.status, *map(int, verdicts)])
    return out.getvalue()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evals.regrade",
        description="Reports what all graders say of stored responses, and where they disagree.",
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
        grades = read_grades(arguments.grades)
        opinions = second_opinions(read_samples(arguments.samples), grades, arguments.answers)
    except BadRowError as error:
        print(f"evals.regrade: {error}", file=sys.stderr)
        return 2
    write_text(arguments.out, report(opinions, grades[0].rule if grades else DEFAULT))
    if arguments.csv is not None:
        write_text(arguments.csv, disagreements_csv(opinions))
    apart = sum(o.apart for o in opinions)
    print(f"{len(opinions)} regraded, {apart} disagreements, report in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
