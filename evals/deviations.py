"""Write the ledger of deviations: what the default does otherwise than the paper, and its effect.

python -m evals.deviations --out results/reference/deviations.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import command
from kpo.common.files import write_text
from kpo.config.experiment import load_experiment
from kpo.evals.ledger.declared import declared
from kpo.evals.ledger.pages import csv, markdown, tables
from kpo.evals.ledger.settings import settings

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "workflow/config"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m evals.deviations",
        description="Writes what this suite does otherwise than the paper, with switches and"
        " measured effects: OUT, Markdown, and a CSV file beside it.",
        epilog="Reads the experiment files, the docstrings of kpo, baselines and evals, and the"
        " results that are kept.",
    )
    parser.add_argument("--out", type=Path, required=True, help=".md file to write")
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIGS / "tiny.yaml",
        help="experiment file that is set beside the paper's (%(default)s)",
    )
    parser.add_argument(
        "--kept",
        type=Path,
        default=ROOT / "results/reference",
        help="folder of results with the effects (%(default)s)",
    )
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = _arguments(argv)
    paper, code, switched = (
        load_experiment(CONFIGS / f"{name}.yaml")
        for name in ("paper", "paper-official", "deviations")
    )
    here = load_experiment(arguments.config)
    found = [*settings(here, paper, code, switched, arguments.kept)]
    parts = tables(found, declared(ROOT), arguments.kept)
    write_text(arguments.out, markdown(parts))
    write_text(arguments.out.with_suffix(".csv"), csv(parts))
    print(arguments.out)


if __name__ == "__main__":
    main()
