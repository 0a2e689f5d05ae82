"""A run of an experiment file in verl.

    python -m kpo.integrations.verl --config workflow/config/paper.yaml \\
        --method kpo-clipped --seed 0

writes `verl/launch.sh` and its data into the run's folder, and with --launch starts it, and makes a
run like any other of what comes out.
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import command
from kpo.common.lock import hold
from kpo.config.cli import experiment_of, experiment_parser


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "kpo.integrations.verl",
        "Write a run as a script for verl's main_ppo, with its data (Parquet): OUT/verl/launch.sh."
        " Where verl has nothing for a setting, it is refused.",
    )
    parser.add_argument("--method", required=True, help="a key under methods: in the file")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--base", type=Path, help="folder of the base policy, read; else policy.model's"
    )
    parser.add_argument("--problems", type=Path, help="as for kpo.train")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the run, written; else results/<experiment>/runs/<method>-s<seed>",
    )
    args = parser.parse_args()
    experiment = experiment_of(args)
    from kpo.integrations.verl.writing import write  # noqa: PLC0415
    from kpo.objective_check import check_methods  # noqa: PLC0415
    from kpo.trainer.run import CHECKPOINTS  # noqa: PLC0415

    check_methods({args.method: experiment.methods[args.method].build()})
    run = Path("results", experiment.experiment, "runs", f"{args.method}-s{args.seed}")
    out: Path = args.out or run
    hold(out)
    written = write(
        experiment,
        args.method,
        args.seed,
        base=args.base,
        problems=args.problems,
        folder=out / "verl",
        checkpoints=out / CHECKPOINTS,
    )
    print(written.script)


if __name__ == "__main__":
    main()
