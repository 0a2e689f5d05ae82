"""Is there structure in log-ratios that a filter could find? Looked at in trainings of their own.

    python -m kpo.structure --config workflow/config/structure.yaml --base results/structure/base \\
        --problems results/structure/problems --out results/structure.csv

Every method trains with every seed. The log-ratios that its updates see are measured by stage of
training, and by whether an update was made on their responses before, beside what chance gives.
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.common.lock import hold
from kpo.config.builds import check_builds
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "kpo.structure",
        "Measure the structure of log-ratios in trainings of their own. Reads the experiment file,"
        " the base policy and the problems; writes a CSV with rows for each method, stage of"
        " training and use of the responses, and OUT.manifest.json beside it. What the columns"
        " mean stands in kpo/series/measures.py.",
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of the base policy, read")
    parser.add_argument("--problems", type=Path, help="as for kpo.train")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    if not args.base.is_dir():
        raise UserError(f"--base {args.base}: no such folder")
    from kpo.objective_check import check_methods  # noqa: PLC0415
    from kpo.series.run import check, run  # noqa: PLC0415
    from kpo.trainer.guards.preemption import leave_on_sigterm  # noqa: PLC0415

    check(experiment)
    check_methods({name: method.build() for name, method in experiment.methods.items()})
    check_builds(experiment)
    hold(args.out)
    leave_on_sigterm()
    run(experiment, args.base, args.problems, args.out)


if __name__ == "__main__":
    main()
