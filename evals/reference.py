"""Keep an experiment's tables, with the manifests of everything behind them, as a reference.

    python -m evals.reference --experiment results/tiny --out results/reference/tiny
    python -m evals.reference --experiment results/tuned --also results/tuned.csv \\
        --out results/reference/tuned
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.common.files import atomic_folder, write_json
from kpo.evals.table import FILES
from kpo.evals.table.gathered import manifests

MANIFESTS = "manifests.json"
STUDIES = ("structure", "shootout")
"""What makes a CSV of its own, and no tables."""


def keep(experiment: Path, also: Sequence[Path], out: Path) -> None:
    """Copy what is there. Raises UserError for an experiment with neither tables nor a study."""
    studies = [name for name in STUDIES if (experiment / f"{name}.csv").is_file()]
    tables = (experiment / FILES[0]).is_file()
    if not tables and not studies:
        raise UserError(f"{experiment}: neither {FILES[0]} nor a study; run the experiment first")
    files = [experiment / name for name in FILES if tables]
    files += [experiment / f"{name}.csv" for name in studies]
    with atomic_folder(out, MANIFESTS) as folder:
        for path in (*files, *also):
            shutil.copyfile(path, folder / path.name)
        content = manifests(experiment) if tables else {}
        for name in studies:
            content[name] = json.loads((experiment / f"{name}.manifest.json").read_text())
        write_json(folder / MANIFESTS, content)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.reference",
        description="Keep an experiment's tables, or a study's, and manifests. Reads"
        " results/<experiment>; writes a folder with the tables and manifests.json.",
    )
    parser.add_argument("--experiment", type=Path, required=True, help="results/<name>, read")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="files that are kept too")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    try:
        keep(args.experiment, args.also, args.out)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; run the experiment first") from None


if __name__ == "__main__":
    main()
