"""Set methods at equal settings and at those chosen for each side by side.

    python -m evals.tuned --config results/tuning/tuned.yaml --results results \\
        --surface results/tuning.csv --out results/tuned.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import command
from kpo.common.files import write_text
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment
from kpo.evals.table.build import build_table
from kpo.evals.tuning.sides import sides_csv


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = experiment_parser(
        "evals.tuned",
        "Sets methods at equal learning rate and default settings and at the settings chosen for"
        " each side by side.",
        epilog="Reads the experiment file that evals.tune wrote, RESULTS/<experiment>/{runs,evals}"
        " of that experiment, finished, RESULTS/reported/table1.csv, and SURFACE, the tuning's."
        " Writes OUT, a row a method: avg@k overall, interquartile mean and probability of scoring"
        " higher than the first baseline with 95 %% limits, what the best training step had on the"
        " last, settings, and the cost of choosing them.",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (%(default)s)"
    )
    parser.add_argument("--surface", type=Path, required=True, help="CSV file of the tuning, read")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = _arguments(argv)
    table = build_table(load_experiment(arguments.config), arguments.results)
    write_text(arguments.out, sides_csv(table, arguments.surface))
    print(arguments.out)


if __name__ == "__main__":
    main()
