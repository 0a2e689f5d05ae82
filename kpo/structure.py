"""Is there structure in log-ratios that a filter could find? Looked at in trainings of their own.

    python -m kpo.structure --config workflow/config/structure.yaml --base results/structure/base \\
        --problems results/structure/problems --out results/structure.csv

Every method trains with every seed. The log-ratios that its updates see are measured by stage of
training, and by whether an update was made on their responses before, beside what chance gives.
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import command
from kpo.config.cli import check_base, study_parser
from kpo.config.experiment import load_experiment


@command
def main() -> None:
    """Command line."""
    parser = study_parser(
        "kpo.structure",
        "Measure the structure of log-ratios in trainings of their own. Reads the experiment file,"
        " the base policy and the problems; writes a CSV with rows for each method, stage of"
        " training and use of the responses, and OUT.manifest.json beside it. What the columns"
        " mean stands in kpo/series/measures.py.",
    )
    parser.add_argument(
        "--dump",
        type=Path,
        help="folder to write: log-probs that are measured, a Parquet file a method, for"
        " kpo.diagnose",
    )
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    check_base(args.base)
    from kpo.series.run import check, run  # noqa: PLC0415
    from kpo.trainer.laboratory import begin  # noqa: PLC0415

    check(experiment)
    begin(experiment, args.out)
    run(experiment, args.base, args.problems, args.out, args.dump)


if __name__ == "__main__":
    main()
