"""The comparison table of an experiment.

    python -m evals.tables --config workflow/config/tiny.yaml --results results \\
        --out-dir results/tiny

Rows are the base model and the methods, columns the benchmarks and `overall`, their macro-average
(every benchmark weighs the same, whatever its size). How intervals and tests come about stands in
`evals.metrics` and `evals.statistics.differences`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import command
from kpo.common.files import write_text
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment
from kpo.evals.table.build import build_table
from kpo.evals.table.documents import latex, markdown
from kpo.evals.table.sheets import csv_files


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = experiment_parser(
        "evals.tables",
        "Makes the comparison table of an experiment.",
        epilog="Reads RESULTS/<experiment>/evals/<run>/{grades.jsonl,manifest.json} of the run base"
        " and of every <method>-s<seed>, RESULTS/<experiment>/runs/<method>-s<seed>/{manifest.json,"
        "metrics.jsonl}, and RESULTS/reported/table1.csv, the paper's figures. Writes to OUT_DIR"
        " table1.csv, table1.md and table1.tex, diagnostics.csv (truncation, length and grading"
        " failures), differences.csv (the pairs that the experiment file declares, with limits and"
        " Holm-adjusted p-values), training.csv (how each run's training went), grid.csv (a line a"
        " row: settings, and means over seeds), aggregates.csv (interquartile means, probabilities"
        " of improvement, performance profiles), scores.csv (right answers by problem and run) and"
        " curves.csv (training metrics by step). Runs that are incomplete, hold other problems than"
        " the rest, were trained otherwise than the rest but for method and seed, or were made"
        " under another protocol stop it with exit code 2 and nothing written.",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (%(default)s)"
    )
    parser.add_argument("--out-dir", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    table = build_table(load_experiment(arguments.config), arguments.results)
    files = csv_files(table) | {"table1.md": markdown(table), "table1.tex": latex(table)}
    for name, text in files.items():
        write_text(arguments.out_dir / name, text)
    print(f"{len(table.rows)} rows in {', '.join(str(arguments.out_dir / name) for name in files)}")


if __name__ == "__main__":
    main()
