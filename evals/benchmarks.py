"""Benchmarks: problems whose golds are checked before anything is trained or sampled.

    python -m evals.benchmarks --config workflow/config/tiny.yaml \\
        --problems results/tiny/problems --out results/tiny/benchmarks.json

With --model it also looks whether prompts and responses fit into a model, before others are
trained from it; with --compare-hub it loads every benchmark from the hub too, and says where the
two differ.
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import command, fail
from kpo.common.files import write_json
from kpo.common.lock import hold
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "evals.benchmarks",
        "Load and check every benchmark of the experiment. Reads the experiment file"
        " and the problems; writes a JSON file with the size, content hash and origin of each.",
    )
    parser.add_argument("--problems", type=Path, help="folder of data files; else as configured")
    parser.add_argument(
        "--model", type=Path, help="folder of a model, in which every prompt must leave room"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--compare-hub",
        action="store_true",
        help="also load the whole benchmarks from the hub, and fail where the rows differ",
    )
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    hold(args.out)
    from kpo.evals.sampling import benchmarks as loading  # noqa: PLC0415
    from kpo.model.policy import load_tokenizer  # noqa: PLC0415

    benchmarks = loading.load_benchmarks(experiment, args.problems)
    if args.model is not None:  # encoding looks for room
        loading.encode(experiment, load_tokenizer(args.model)[0], args.model, benchmarks)
    differences = loading.compare_with_hub(experiment, args.problems) if args.compare_hub else []
    if differences:
        fail("the folder and the hub differ: " + "; ".join(differences))
    checked = {"checked_by": None if experiment.grades_itself else loading.checker()}
    write_json(args.out, {b.name: b.record() | {"origin": b.origin} | checked for b in benchmarks})


if __name__ == "__main__":
    main()
