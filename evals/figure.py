"""Draw what experiments found, from their grid.csv.

    python -m evals.figure grid --grid results/memory/grid.csv --out results/memory/grid.png
    python -m evals.figure collapse --grid results/arms/grid.csv results/memory/grid.csv \\
        --out results/collapse.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.common.files import write_text
from kpo.common.text import csv_text

MOST_NAMES = 16
"""Of more arms in a figure only the exceptions are named; all stand in the CSV beside it."""


@command
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.figure",
        description="Draw a figure, as PNG or SVG by the name of --out, from grid.csv of"
        " experiments.",
    )
    figures = parser.add_subparsers(dest="figure", required=True)
    grid = figures.add_parser("grid", help="a column of one grid, row by row, with its limits")
    collapse = figures.add_parser(
        "collapse",
        help="reward and collapse over the width of the clip that a drift meets; the arms stand in"
        " a CSV beside the figure",
    )
    for one in (grid, collapse):
        one.add_argument("--out", type=Path, required=True, help=".png or .svg, written")
    grid.add_argument("--grid", type=Path, required=True, help="grid.csv, read")
    grid.add_argument("--column", default="reward_last5_%")
    collapse.add_argument("--grid", type=Path, required=True, nargs="+", help="grid.csv, read")
    args = parser.parse_args()
    from evals.figures.collapse import arm_rows, misjudged, read_arms  # noqa: PLC0415
    from evals.figures.drawing import draw_collapse, draw_grid  # noqa: PLC0415

    if args.figure == "grid":
        draw_grid(args.grid, args.column, args.out)
        return
    arms = [arm for path in args.grid for arm in read_arms(path)]
    if not arms:
        raise UserError(f"{', '.join(map(str, args.grid))}: no trained rows")
    width, wrong = misjudged(arms)
    draw_collapse(arms, width, args.out, named=arms if len(arms) <= MOST_NAMES else wrong)
    write_text(args.out.with_suffix(".csv"), csv_text(arm_rows(arms)))
    names = ", ".join(f"{arm.experiment}/{arm.name}" for arm in wrong) or "none"
    print(
        f"{len(arms)} arms: where the clip that a drift meets is wider than {width:.3g}, most runs"
        f" collapse, with {len(wrong)} exceptions ({names})"
    )


if __name__ == "__main__":
    main()
