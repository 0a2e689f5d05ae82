"""Make a Hugging Face data set of an experiment, and upload it.

python -m evals.publish --experiment results/tiny --out results/tiny/dataset
python -m evals.publish --experiment results/tiny --out results/tiny/dataset --push owner/name
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import command
from kpo.common.hub import Hub
from kpo.evals.sharing.dataset import write_dataset


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.publish",
        description="Make a Hugging Face data set of an experiment: scores of problems, curves, all"
        " other tables, manifests.json and a card. Reads results/<experiment>, or a folder of"
        " results/reference; writes a folder that datasets.load_dataset and evals.compare read.",
    )
    parser.add_argument("--experiment", type=Path, required=True, help="results/<name>, read")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--push",
        metavar="REPO_ID",
        help="upload it to this data set (owner/name) of the hub; public, if it is not there yet",
    )
    args = parser.parse_args(argv)
    hub = Hub(args.push, "dataset") if args.push else None
    write_dataset(args.experiment, args.out, args.push or "owner/name")
    print(hub.upload(args.out) if hub else args.out)


if __name__ == "__main__":
    main()
