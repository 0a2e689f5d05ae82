"""Compare objectives as estimators of the policy gradient, at frozen weights.

    python -m kpo.shootout --config workflow/config/shootout.yaml --base results/shootout/base \\
        --problems results/shootout/problems --out results/shootout.csv

The experiment's first method trains; no other does. At its last weights, on responses that the
weights of some updates before have sampled, the gradient of every method's loss is compared with
the policy gradient of a large batch of fresh responses: cosine, bias, variance, mean square error.
"""

from __future__ import annotations

from kpo.common.cli import UserError, command
from kpo.config.cli import check_base, study_parser
from kpo.config.experiment import load_experiment


@command
def main() -> None:
    """Command line."""
    parser = study_parser(
        "kpo.shootout",
        "Compare the methods of an experiment as estimators of the policy gradient. Reads the"
        " experiment file, the base policy and the problems; writes a CSV with a row for each seed,"
        " age and method, and OUT.manifest.json beside it.",
    )
    parser.add_argument(
        "--ages",
        type=int,
        nargs="+",
        help="of the weights that sample, in updates before the last, beside 0; default: 1 4 16 64,"
        " as far as training goes",
    )
    parser.add_argument(
        "--rollouts", type=int, default=3, help="rollout batches at each age (%(default)s)"
    )
    parser.add_argument(
        "--truth", type=int, default=32, help="rollout batches of the true gradient (%(default)s)"
    )
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    for name, values, least in (
        ("ages", args.ages or [0], 0),
        ("rollouts", [args.rollouts], 1),
        ("truth", [args.truth], 3),
    ):
        if min(values) < least:
            raise UserError(f"--{name} is {min(values)}, but must be at least {least}")
    check_base(args.base)
    from kpo.estimators.run import Asked, check, run  # noqa: PLC0415
    from kpo.trainer.laboratory import begin  # noqa: PLC0415

    check(experiment)
    begin(experiment, args.out)
    ages = tuple(args.ages) if args.ages else None
    run(experiment, Asked(ages, args.rollouts, args.truth), args.base, args.problems, args.out)


if __name__ == "__main__":
    main()
