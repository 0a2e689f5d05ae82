"""A run of an experiment file in verl.

    python -m kpo.integrations.verl --config workflow/config/paper.yaml \\
        --method kpo-clipped --seed 0

writes `verl/launch.sh` and its data into the run's folder, and with --launch starts it, and makes a
run like any other of what comes out. Where `train.engine` is verl, `kpo.train` does all that.
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import command
from kpo.common.lock import hold
from kpo.config.cli import experiment_of, experiment_parser
from kpo.config.experiment import run_name


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
    parser.add_argument("--launch", action="store_true", help="start it, and wait for its end")
    args = parser.parse_args()
    experiment = experiment_of(args)
    from kpo.integrations.verl.launching import run  # noqa: PLC0415
    from kpo.integrations.verl.writing import write  # noqa: PLC0415
    from kpo.objective_check import check_methods  # noqa: PLC0415
    from kpo.trainer.guards.preemption import leave_on_sigterm  # noqa: PLC0415

    check_methods({args.method: experiment.methods[args.method].build()})
    name = run_name(args.method, args.seed)
    out: Path = args.out or Path("results", experiment.experiment, "runs", name)
    hold(out)
    what = experiment, args.method, args.seed
    if args.launch:
        leave_on_sigterm()  # verl goes on from its newest checkpoint
        run(*what, args.base, args.problems, out)
    else:
        print(write(*what, base=args.base, problems=args.problems, out=out).script)


if __name__ == "__main__":
    main()
