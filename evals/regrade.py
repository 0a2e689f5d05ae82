"""What every grader says of stored answers, and where they part.

    python -m evals.regrade --samples samples.jsonl --grades grades.jsonl --out report.md

Side by side stand the rule that graded, the others of `evals.grading.rules` (whose verdicts the
grades hold where they differ), and `second_rule`, which is independent of math-verify and is asked
now. Who is right where they part is for a reader of the texts to decide.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kpo.common.cli import command
from kpo.common.files import write_text
from kpo.evals.grading.extract import EXTRACTORS, answers_argument
from kpo.evals.grading.golds import normalise_gold, normaliser_argument
from kpo.evals.grading.rules import DEFAULT, RULES
from kpo.evals.grading.second_rule import agree
from kpo.evals.records import BadRowError, GradeRow, Sample, read_grades, read_samples

SHOWN = 40  # characters of an answer in the report's tables; the CSV has the whole text
SHOWN_ROWS = 200  # distinct disagreements per benchmark in the report; the CSV has every response


@dataclass(frozen=True)
class Opinion:
    """One response as all graders see it; `extracted` is empty without an answer.

    verdicts: of the rule that `graded`, of the second one (`regraded`), of the others by name.
    """

    row: GradeRow
    gold: str
    extracted: str
    verdicts: Mapping[str, bool]

    @property
    def apart(self) -> bool:
        """Whether the graders part."""
        return len(set(self.verdicts.values())) > 1


def second_opinions(
    samples: Sequence[Sample], grades: Sequence[GradeRow], answers: str, normaliser: str | None
) -> list[Opinion]:
    """Regrade every sample, finding its answer and making its gold plain as in grading.

    Raises BadRowError if samples and grades are not of the same rows.
    """
    by_key = {grade.key: grade for grade in grades}
    missing = [s.key for s in samples if s.key not in by_key]
    extra = set(by_key) - {s.key for s in samples}
    if missing or extra:
        benchmark, problem, number = missing[0] if missing else min(extra)
        raise BadRowError(
            f"Samples and grades are not of the same responses: {len(missing)} samples have no "
            f"grade and {len(extra)} grades no sample, for example sample {number} of "
            f"{benchmark} {problem}."
        )
    opinions = []
    for s in samples:
        grade, gold = by_key[s.key], normalise_gold(normaliser, s.answer)
        extracted = EXTRACTORS[answers](s.response) or ""
        verdicts = {"graded": grade.correct, "regraded": agree(gold, extracted)}
        if grade.rule in RULES:  # beside a task's own grade none was asked
            others = [rule for rule in RULES if rule != grade.rule]
            verdicts |= {rule: grade.correct != (rule in grade.differs) for rule in others}
        opinions.append(Opinion(grade, gold, extracted, verdicts))
    return opinions


def report(opinions: Sequence[Opinion], rule: str) -> str:
    """The report, Markdown, on grades by `rule`."""
    names = dict.fromkeys(o.row.benchmark for o in opinions)
    benchmarks = {name: [o for o in opinions if o.row.benchmark == name] for name in names}
    lines = [
        "# Where graders disagree",
        "",
        f"`graded` is the rule {rule} (evals.grade), `regraded` an independent one: normalised "
        "text, then numbers (evals.grading.second_rule). Neither is the truth; read the texts.",
        "",
        "| benchmark | responses | both correct | both wrong | only graded correct "
        "| only regraded correct | agreement |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        *(_counts(name, part) for name, part in [*benchmarks.items(), ("all", opinions)]),
        "",
        "| grader | responses | correct | agrees with graded |",
        "| --- | --: | --: | --: |",
    ]
    titles = {"graded": f"{rule} (graded)", "regraded": "second rule (regraded)"}
    for name in sorted(opinions[0].verdicts if opinions else titles, key="regraded".__eq__):
        found, total = sum(o.verdicts[name] for o in opinions), len(opinions)
        same = sum(o.verdicts["graded"] == o.verdicts[name] for o in opinions)
        lines.append(_line(titles.get(name, name), total, found, _share(same, total)))
    for name, part in benchmarks.items():
        lines += _disagreements(name, [o for o in part if o.apart])
    return "\n".join(lines) + "\n"


def _counts(name: str, opinions: Sequence[Opinion]) -> str:
    count = Counter((o.verdicts["graded"], o.verdicts["regraded"]) for o in opinions)
    counts = [count[pair] for pair in ((True, True), (False, False), (True, False), (False, True))]
    return _line(name, len(opinions), *counts, _share(sum(counts[:2]), len(opinions)))


def _disagreements(name: str, opinions: Sequence[Opinion]) -> list[str]:
    """The section of one benchmark: each distinct (problem, answer) once, with its samples."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for o in opinions:
        right_for = ", ".join(grader for grader, verdict in o.verdicts.items() if verdict)
        key = o.row.id, o.gold, o.extracted, right_for, o.row.status
        groups.setdefault(key, []).append(str(o.row.sample))
    rows = [
        _line(_cell(problem), _cell(", ".join(numbers)), _code(gold), _code(answer), *said)
        for (problem, gold, answer, *said), numbers in groups.items()
    ]
    if not rows:
        return []
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


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"


def _cell(text: str) -> str:
    plain = " ".join(_escaped(text).split())
    short = plain if len(plain) <= SHOWN else plain[: SHOWN - 3] + "..."
    return "".join(c if c.isprintable() else "?" for c in short).replace("|", "\\|")


def _code(text: str) -> str:
    shown = _cell(text)
    fence = "``" if "`" in shown else "`"
    return f"{fence} {shown} {fence}" if shown else "(empty)"


def _escaped(text: str) -> str:
    """Lone surrogates as a backslash and digits."""
    return text.encode("utf-8", "backslashreplace").decode()


def disagreements_csv(opinions: Sequence[Opinion]) -> str:
    """All responses on which the graders disagree, whole texts, lone surrogates escaped."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    graders = opinions[0].verdicts if opinions else ("graded", "regraded")
    writer.writerow(["benchmark", "id", "sample", "gold", "extracted", "status", *graders])
    for o in (o for o in opinions if o.apart):
        texts = map(_escaped, (o.gold, o.extracted))
        writer.writerow([*o.row.key, *texts, o.row.status, *map(int, o.verdicts.values())])
    return out.getvalue()


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
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
    normaliser_argument(parser)
    arguments = parser.parse_args(argv)
    samples, grades = read_samples(arguments.samples), read_grades(arguments.grades)
    opinions = second_opinions(samples, grades, arguments.answers, arguments.normaliser)
    write_text(arguments.out, report(opinions, grades[0].rule if grades else DEFAULT))
    if arguments.csv is not None:
        write_text(arguments.csv, disagreements_csv(opinions))
    apart = sum(o.apart for o in opinions)
    print(f"{len(opinions)} regraded, {apart} disagreements, report in {arguments.out}")


if __name__ == "__main__":
    main()
