"""What stands behind an experiment's results: code, versions, hardware and times, in one file.

python -m evals.manifests --experiment results/tiny --out results/tiny/manifests.json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.common.files import write_json
from kpo.evals.table.gathered import manifests


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.manifests",
        description="Gather the manifests of an experiment: of the base policy, and of its runs and"
        " evaluations what all say alike and what each says itself.",
    )
    parser.add_argument("--experiment", type=Path, required=True, help="results/<name>, read")
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written")
    args = parser.parse_args(argv)
    try:
        write_json(args.out, manifests(args.experiment))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; run the experiment first") from None


if __name__ == "__main__":
    main()
