"""Look at a step that was not finite: what of it comes back, in which response, at which token.

    python -m kpo.replay --config workflow/config/tiny.yaml --method gspo \\
        --base results/tiny/base --failure results/tiny/runs/gspo-s0/failure-step-000010
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import command, warn
from kpo.config.cli import experiment_of, method_parser


@command
def main() -> None:
    """Command line."""
    parser = method_parser(
        "kpo.replay",
        "Look at a step that was not finite. Reads the experiment file, the base policy"
        " (for its architecture) and the folder that the stopped run named (weights, batch,"
        " settings); recomputes log-probs, loss and gradient, and prints a line a response: its"
        " prompt, number of tokens, advantage, largest |log-ratio| in nats, raw and as the"
        " objective used it, the first token (from 0) whose old, stored and recomputed"
        " log-prob, and whose ratio as used, is not finite (- if none), and whether its loss is"
        " finite; then the parameters with a non-finite weight or gradient. Writes nothing.",
        epilog="Truncated importance weights are not replayed: a stored log-prob that is not finite"
        " while the recomputed one is points to them.",
    )
    parser.add_argument("--failure", type=Path, required=True, help="folder of the failure, read")
    args = parser.parse_args()
    experiment = experiment_of(args)
    from kpo.trainer.guards.failure import load_failure  # noqa: PLC0415
    from kpo.trainer.replay import report, run  # noqa: PLC0415
    from kpo.trainer.state.checkpoint import differences  # noqa: PLC0415

    failure = load_failure(args.failure)
    replayed = run(experiment, args.method, args.base, failure)
    now = experiment.section("train", args.method)
    then = {key: value for key, value in failure.settings.items() if key in now}
    for line in differences(then, now):
        warn(f"the run had other settings: {line}")
    print(report(failure, replayed))


if __name__ == "__main__":
    main()
