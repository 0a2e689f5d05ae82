"""Draw what experiments found, from the CSV files of their tables and studies.

    python -m evals.figure learning --curves results/tiny/curves.csv --grid results/tiny/grid.csv \\
        --out results/tiny/figures/learning.png results/tiny/figures/learning.svg
    python -m evals.figure collapse --grid results/arms/grid.csv results/memory/grid.csv \\
        --out results/collapse.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.evals.figures.collapse import draw_collapse
from kpo.evals.figures.forest import draw_forest
from kpo.evals.figures.grid import draw_grid
from kpo.evals.figures.learning import draw_learning
from kpo.evals.figures.pass_share import draw_pass_share
from kpo.evals.figures.shootout import draw_shootout
from kpo.evals.figures.structure import draw_autocorrelation, draw_structure
from kpo.evals.figures.tuning import draw_tuning


@dataclass(frozen=True)
class Figure:
    """What it shows; the files that it is drawn from, each an option; what draws it from them.

    `draw` takes the files, in their order, and then the files to write. Of a figure that is drawn
    from `several` of one kind it takes a list.
    """

    told: str
    files: tuple[str, ...]
    draw: Callable[..., None]
    several: bool = False


FIGURES = {
    "learning": Figure(
        "reward, entropy, KL and clip fraction of every method, step by step",
        ("curves", "grid"),
        draw_learning,
    ),
    "grid": Figure(
        "columns of a grid, over its axes or row by row, with their limits", ("grid",), draw_grid
    ),
    "pass-share": Figure(
        "which share of a steady drift the filters let through, by position",
        ("grid",),
        draw_pass_share,
    ),
    "forest": Figure("the declared differences with their limits", ("differences",), draw_forest),
    "tuning": Figure(
        "scores of every method over the axes of its grid, and what was chosen",
        ("surface",),
        draw_tuning,
    ),
    "shootout": Figure(
        "objectives as estimators of the policy gradient, by age of the rollouts",
        ("shootout",),
        draw_shootout,
    ),
    "structure": Figure(
        "measures of log-ratios beside what chance gives", ("structure",), draw_structure
    ),
    "autocorrelation": Figure(
        "the autocorrelation of log-ratios by lag", ("structure",), draw_autocorrelation
    ),
    "collapse": Figure(
        "reward and collapse over the width of the clip that a drift meets; the arms stand in a"
        " CSV beside the figure",
        ("grid",),
        draw_collapse,
        several=True,
    ),
}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evals.figure",
        description="Draw a figure, as PNG or SVG by the names of --out, from CSV files of"
        " experiments.",
    )
    commands = parser.add_subparsers(dest="figure", required=True)
    for name, figure in FIGURES.items():
        one = commands.add_parser(name, help=figure.told, description=f"Draws {figure.told}.")
        for file in figure.files:
            nargs = "+" if figure.several else None
            told = f"{file}.csv of experiments, read" if figure.several else f"{file}.csv, read"
            one.add_argument(f"--{file}", type=Path, required=True, nargs=nargs, help=told)
        one.add_argument("--out", type=Path, required=True, nargs="+", help=".png, .svg, written")
        if name == "grid":
            told = "what is drawn, each beside the others (%(default)s)"
            one.add_argument("--column", nargs="+", default=["reward_last5_%"], help=told)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    args = _arguments(argv)
    for path in args.out:
        if path.suffix not in (".png", ".svg"):
            raise UserError(f"--out is {path}, but must end in .png or .svg")
    figure = FIGURES[args.figure]
    files = [getattr(args, file) for file in figure.files]
    figure.draw(*files, args.out, **({"columns": args.column} if "column" in args else {}))


if __name__ == "__main__":
    main()
