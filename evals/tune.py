"""Choose each method's settings on validation problems.

    python -m evals.tune --config workflow/config/tuning.yaml --results results \\
        --surface results/tuning.csv --out results/tuning/tuned.yaml

What it writes last is an experiment like any other: run it, and `python -m evals.tuned` sets
methods at equal settings and at their own side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from kpo.common.cli import command
from kpo.common.files import write_text
from kpo.config.cli import experiment_parser
from kpo.config.evaluate import usual_engine
from kpo.config.experiment import load_experiment
from kpo.config.values import Engine
from kpo.evals.tuning.chosen import SEEDS, chosen_experiment
from kpo.evals.tuning.sheets import surface_csv
from kpo.evals.tuning.surface import cost_of, families_of, read_surface


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = experiment_parser(
        "evals.tune",
        "Chooses each method's settings on validation problems: of every row with a grid the point"
        " with the highest avg@k overall, of equal ones that with the smaller learning rate.",
        epilog="Reads RESULTS/<experiment>/{runs,evals} of a finished experiment whose"
        " task.held_out is validation. Writes SURFACE, every point with its score, tokens and"
        " seconds, and OUT, an experiment file with the chosen settings and the equal ones, on test"
        " problems and with seeds that the tuning did not use. A choice at the end of an axis is"
        " marked in both, as a wider grid might have given another. Missing runs stop it with exit"
        " code 2 and nothing written.",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (%(default)s)"
    )
    parser.add_argument("--surface", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--out", type=Path, required=True, help="experiment file to write")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="number of fresh seeds in it (%(default)s)"
    )
    parser.add_argument(
        "--samples", type=int, default=16, help="its evaluate.samples (%(default)s)"
    )
    parser.add_argument(
        "--engine",
        choices=get_args(Engine),
        default=usual_engine(),
        help="its evaluate.engine (%(default)s)",
    )
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = _arguments(argv)
    experiment = load_experiment(arguments.config)
    points = read_surface(experiment, arguments.results)
    text = chosen_experiment(
        experiment,
        points,
        seeds=arguments.seeds,
        samples=arguments.samples,
        engine=arguments.engine,
    )
    write_text(arguments.surface, surface_csv(points))
    write_text(arguments.out, text)
    for family, rows in families_of(points).items():
        best = next(point for point in rows if point.chosen)
        edge = f", at the edge: {', '.join(best.edges)}" if best.edges else ""
        cost = cost_of(rows)
        print(f"{family}: {best.settings}, of {len(rows)} points, {cost.seconds:.0f} s{edge}")


if __name__ == "__main__":
    main()
