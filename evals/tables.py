"""The comparison table of an experiment.

    python -m evals.tables --config workflow/config/tiny.yaml --results results \\
        --out-dir results/tiny

Rows are the base model and the methods, columns the benchmarks and `overall`, their macro-average
(every benchmark weighs the same, whatever its size). How intervals and tests come about stands in
`evals.metrics` and `evals.statistics.differences`.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from evals.metrics import Floats, avg_scores, interval, pass_scores, variance_levels
from evals.statistics.differences import LEVEL, Tests, compare_rows, holm_families
from evals.table.contamination import contamination_notes
from evals.table.data import Cell, Comparison, Row, Table
from evals.table.markdown import markdown
from evals.table.render import STILL, csv_files, latex
from evals.table.runs import Correct, Run, TableError, read_runs
from evals.table.trainings import check_trainings, noise_floors, noise_notes, still_runs
from kpo.common.cli import fail
from kpo.common.files import write_text
from kpo.config.cli import experiment_argument, load_or_exit
from kpo.config.experiment import Experiment
from kpo.noise_floor import summary
from kpo.registry import make_objective

OVERALL = "overall"
Scores = dict[str, list[Floats]]  # row -> for each benchmark [seeds, problems]


def build_table(experiment: Experiment, results: Path) -> Table:
    """Read every run of the experiment and work out all cells and comparisons."""
    evaluate, k = experiment.evaluate, experiment.evaluate.samples
    rule = experiment.grading.rule
    folder = results / experiment.experiment
    runs = read_runs(folder / "evals", ["base", *experiment.runs], evaluate.benchmarks, k, rule)
    models = {name: run.model for name, run in runs.items()}
    notes = check_trainings(folder / "runs", experiment.runs, models)
    notes += contamination_notes(folder, experiment.runs, evaluate.benchmarks)
    still = still_runs(folder / "runs", experiment.runs)
    reported = read_reported(results / "reported" / "table1.csv")
    scores = {
        "avg": _scores(experiment, runs, avg_scores),
        "pass": _scores(experiment, runs, lambda correct: pass_scores(correct, k)),
    }
    columns = (*evaluate.benchmarks, OVERALL)
    noise = noise_floors(folder / "runs", experiment.runs)
    rows = _rows(experiment, runs, scores, columns, still, noise)
    grpo, best = _references(rows)
    return Table(
        experiment=experiment.experiment,
        k=k,
        problems={b: len(correct) for b, correct in runs["base"].correct.items()},
        columns=columns,
        seeds=tuple(experiment.seeds),
        rows=rows,
        grpo=grpo,
        best=best,
        comparisons=[
            comparison
            for metric in scores
            for comparison in _comparisons(metric, scores[metric], columns, rows, grpo, best)
        ],
        protocol=runs["base"].protocol,
        rule=rule,
        reported=reported,
        notes=[*_still_notes(still), *noise_notes(rows), *notes],
    )


def _members(experiment: Experiment) -> dict[str, list[str]]:
    """The runs of every row, in the order of the seeds."""
    rows = {name: [f"{name}-s{seed}" for seed in experiment.seeds] for name in experiment.methods}
    return {"base": ["base"], **rows}


def _scores(
    experiment: Experiment, runs: Mapping[str, Run], score: Callable[[Correct], Floats]
) -> Scores:
    """Scores of single problems, `score` being that of [problems, samples]."""
    return {
        row: [np.stack([score(runs[n].correct[b]) for n in names]) for b in runs["base"].correct]
        for row, names in _members(experiment).items()
    }


def _cells(blocks: list[Floats]) -> list[Cell]:
    """Cells of one row and metric: each benchmark, then the macro-average."""
    cells = []
    for chosen in [*([block] for block in blocks), blocks]:
        levels = variance_levels(chosen)
        low, high = interval(levels)
        cells.append(Cell(float(levels.mean), float(low), float(high)))
    return cells


def _rows(
    experiment: Experiment,
    runs: Mapping[str, Run],
    scores: Mapping[str, Scores],
    columns: Sequence[str],
    still: Mapping[str, str],
    noise: Mapping[str, Mapping[str, float]],
) -> list[Row]:
    rows = []
    for name, members in _members(experiment).items():
        cells = {
            (metric, column): cell
            for metric, by_row in scores.items()
            for column, cell in zip(columns, _cells(by_row[name]), strict=True)
        }
        parts = [runs[member].diagnostics for member in members]
        diagnostics = {b: reduce(add, (part[b] for part in parts)) for b in columns[:-1]}
        seeds = tuple(seed for seed in experiment.seeds if f"{name}-s{seed}" in still)
        floor = summary([noise.get(member, {}) for member in members])
        rows.append(Row(name, *_identity(experiment, name), cells, diagnostics, seeds, floor))
    return rows


def _still_notes(still: Mapping[str, str]) -> list[str]:
    """A note on runs that learnt nothing."""
    if not still:
        return []
    runs = "; ".join(f"{run}, {sentence}" for run, sentence in still.items())
    return [f"{STILL}: the row has runs that learnt nothing, and are the base model again: {runs}."]


def _identity(
    experiment: Experiment, name: str
) -> tuple[str, str, dict[str, float | None], tuple[int, ...]]:
    """Label, objective, settings (with what the objective derives of them) and seeds of a row."""
    if name == "base":
        return "Base model", "", {}, ()
    method = experiment.methods[name]
    objective: Any = make_objective(method.objective, **method.settings)
    settings = {key: getattr(objective, key, None) for key in Row.SETTINGS}
    return method.label, method.objective, settings, tuple(experiment.seeds)


def _references(rows: Sequence[Row]) -> tuple[str | None, str | None]:
    """The rows that others are set against: GRPO, and the best (avg, overall) that is not KPO."""
    baselines = [row for row in rows if row.is_baseline]
    grpo = next((row.name for row in baselines if row.objective == "grpo"), None)
    best = max(baselines, key=lambda row: row.cells["avg", OVERALL].mean, default=None)
    return grpo, best.name if best else None


def _comparisons(
    metric: str,
    scores: Scores,
    columns: Sequence[str],
    rows: Sequence[Row],
    grpo: str | None,
    best: str | None,
) -> list[Comparison]:
    """Every row against GRPO and against the best baseline, in every column."""
    blocks = [scores[row.name] for row in rows]
    tests = [compare_rows([[row[b]] for row in blocks]) for b in range(len(columns) - 1)]
    tests.append(compare_rows(blocks))
    adjusted = holm_families(tests, [i for i, row in enumerate(rows) if row.is_baseline])
    against = (
        {grpo: "grpo", best: "best baseline"} if grpo != best else {grpo: "grpo, best baseline"}
    )
    places = {row.name: place for place, row in enumerate(rows)}
    return [
        _comparison(test, p, places[row.name], places[name], (row.name, name, role, metric, column))
        for name, role in against.items()
        if name is not None
        for row in rows
        if row.name != name
        for column, test, p in zip(columns, tests, adjusted, strict=True)
    ]


def _comparison(
    test: Tests, adjusted: Floats, row: int, reference: int, what: tuple[str, str, str, str, str]
) -> Comparison:
    """The test of row - reference, which `test` may hold the other way round."""
    place = test.pairs.index((max(row, reference), min(row, reference)))
    sign = 1 if row > reference else -1
    ends = sorted(sign * float(end[place]) for end in (test.low, test.high))
    p = float(adjusted[place])
    mean = sign * float(test.mean[place])
    if math.isnan(p):
        verdict = "not tested"
    elif p > LEVEL:
        verdict = "inside the noise"
    else:
        verdict = "higher" if mean > 0 else "lower"
    difference, detectable = Cell(mean, ends[0], ends[1]), float(test.detectable[place])
    return Comparison(*what, difference, detectable, float(test.p[place]), p, verdict)


def read_reported(path: Path) -> list[dict[str, str]]:
    """The paper's figures in %, one mapping a method; unknown cells are empty."""
    if not path.is_file():
        raise TableError(f"{path} is missing.")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    for row in rows:
        for column, text in row.items():
            if column is None or text is None or "method" not in row:
                raise TableError(f"{path}: a row does not fit the header, or has no method.")
            if column != "method" and text and not text.replace(".", "", 1).isdigit():
                raise TableError(f"{path}: {column} of {row['method']} is {text!r}, not a number.")
    return rows


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evals.tables",
        description="Makes the comparison table of an experiment.",
        epilog="Reads RESULTS/<experiment>/evals/<run>/grades.jsonl and manifest.json of the run"
        " base and of every <method>-s<seed>, RESULTS/<experiment>/runs/<method>-s<seed>/"
        "manifest.json, and RESULTS/reported/table1.csv, the paper's"
        " figures. Writes to OUT_DIR table1.csv, table1.md and table1.tex, diagnostics.csv"
        " (truncation, length and grading failures) and differences.csv (paired differences with"
        " intervals and Holm-adjusted p-values). Runs that are incomplete, hold other problems"
        " than the rest, were trained otherwise than the rest but for method and seed, or were"
        " made under another protocol stop it with exit code 2 and nothing written.",
    )
    experiment_argument(parser)
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (%(default)s)"
    )
    parser.add_argument("--out-dir", type=Path, required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = _arguments(argv)
    experiment = load_or_exit(arguments.config)
    try:
        table = build_table(experiment, arguments.results)
    except TableError as error:
        fail(error)
    files = csv_files(table) | {"table1.md": markdown(table), "table1.tex": latex(table)}
    for name, text in files.items():
        write_text(arguments.out_dir / name, text)
    print(f"{len(table.rows)} rows in {', '.join(str(arguments.out_dir / name) for name in files)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
