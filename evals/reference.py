"""Keep an experiment's tables, with the manifests of everything behind them, as a reference.

python -m evals.reference --experiment results/tiny --out results/reference/tiny
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from evals.table import FILES
from evals.table.gathered import manifests
from kpo.common.cli import fail
from kpo.common.files import atomic_folder, write_json


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.reference",
        description="Keep an experiment's tables and manifests. Reads results/<experiment>; writes"
        " a folder with the tables and manifests.json.",
    )
    parser.add_argument("--experiment", type=Path, required=True, help="results/<name>, read")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    try:
        with atomic_folder(args.out) as folder:
            for name in FILES:
                shutil.copyfile(args.experiment / name, folder / name)
            write_json(folder / "manifests.json", manifests(args.experiment))
    except FileNotFoundError as error:
        fail(f"{error.filename}: no such file; run the experiment first")


if __name__ == "__main__":
    main()
