"""Train one run: one method, one seed.

    python -m kpo.train --config workflow/config/tiny.yaml --method gspo --seed 0 \\
        --base results/tiny/base --problems results/tiny/problems --out results/tiny/runs/gspo-s0
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kpo.common.cli import command
from kpo.common.lock import hold
from kpo.config.builds import check_builds, check_tracker
from kpo.config.cli import experiment_of, method_parser


@command
def main() -> None:
    """Command line."""
    parser = method_parser(
        "kpo.train",
        "Train one run. Reads the experiment file, the base policy and the problems;"
        " writes model/, metrics.jsonl, timings.jsonl, tensorboard/, dropped.jsonl (prompts too"
        " long), config.yaml, manifest.json.",
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--problems",
        type=Path,
        help="folder that kpo.tasks.training_set wrote, or of data files, which are cleaned first;"
        " else the data section's",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, written")
    args = parser.parse_args()
    experiment = experiment_of(args)
    if experiment.train.engine == "verl":
        command_line = [sys.executable, "-m", "kpo.integrations.verl", *sys.argv[1:], "--launch"]
        os.execv(sys.executable, command_line)
    from kpo.objective_check import check_methods  # noqa: PLC0415
    from kpo.trainer.guards.preemption import leave_on_sigterm  # noqa: PLC0415
    from kpo.trainer.run import run  # noqa: PLC0415

    check_methods({args.method: experiment.methods[args.method].build()})
    check_builds(experiment)
    check_tracker(experiment)
    if int(os.environ.get("RANK", "0")) == 0:  # the other ranks wait for this one
        hold(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    leave_on_sigterm()  # while the trainer works, it has a checkpoint to write first
    run(experiment, args.method, args.seed, args.base, args.problems, args.out)


if __name__ == "__main__":
    main()
