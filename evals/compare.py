"""Set an experiment's rows beside stored ones, without training those again.

python -m evals.compare results/mine/table1.csv --with results/reference/tiny
python -m evals.compare results/mine/table1.csv --with owner/name --against grpo gmpo
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import command


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.compare",
        description="Set an experiment's rows beside stored ones. Prints, in Markdown, the table of"
        " both and the differences between rows of the one and of the other.",
        epilog="Reads table1.csv of both, with the manifests that say how it was made"
        " (manifests.json, or those in base/, runs/ and evals/), and scores.csv and training.csv,"
        " by which rows are paired; without these there are no differences. Results of another"
        " protocol are refused with exit code 2: prompts, benchmarks, sampling, grading, base,"
        " training problems, and settings of training that rows may not have for themselves.",
    )
    parser.add_argument("table", type=Path, help="table1.csv of the experiment, in its folder")
    parser.add_argument(
        "--with",
        dest="stored",
        required=True,
        metavar="RESULTS",
        help="the stored results: a folder, its address (https://...), or the id of a data set on"
        " the Hugging Face hub (owner/name, owner/name@revision)",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="NAME",
        help="stored rows to compare with, by name; fewer pairs are tested with more power (all)",
    )
    args = parser.parse_args(argv)
    from kpo.evals.sharing.beside import beside  # noqa: PLC0415 - slow to import
    from kpo.evals.sharing.places import at  # noqa: PLC0415
    from kpo.evals.sharing.report import markdown  # noqa: PLC0415
    from kpo.evals.sharing.stored import read  # noqa: PLC0415

    folder = args.table.parent if args.table.suffix == ".csv" else args.table
    mine = read(folder, str(folder))
    with at(args.stored) as (place, name):
        sys.stdout.write(markdown(beside(mine, read(place, name), args.against)))


if __name__ == "__main__":
    main()
