"""Write the training set of an experiment, its rows cleaned and its golds checked.

python -m kpo.tasks.training_set --config workflow/config/paper.yaml --out results/paper/data
"""

from __future__ import annotations

import sys
from pathlib import Path

from kpo.common.cli import command, fail
from kpo.common.files import check_replaceable
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment
from kpo.trainer.training_set import CONTENT, DROPPED, PROBLEMS, RECORD, stated, training_set, write


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "kpo.tasks.training_set",
        "Clean the training set of an experiment and check its golds. Reads the"
        " experiment file, the data set and the benchmarks; writes a folder with the problems"
        f" ({PROBLEMS}), the rows left out and why ({DROPPED}), the counts ({RECORD}) and the"
        f" problems' hash ({CONTENT}).",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that check golds")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    if experiment.task is not None:
        fail(f"{args.config}: the task makes its own problems, which need no cleaning")
    check_replaceable(args.out, RECORD)
    found = training_set(experiment, None, workers=args.workers, progress=True)
    write(found, args.out)
    sys.stderr.write(f"{stated(found.record)}\n")


if __name__ == "__main__":
    main()
