"""A page to look through graded responses, complete in one HTML file.

    python -m evals.browse --config workflow/config/tiny.yaml --results results \\
        --problems results/tiny/problems --out results/tiny/pages/responses.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.common.files import write_text
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment, run_name, run_parts


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = experiment_parser(
        "evals.browse",
        "Write an HTML page, complete in one file, to look through graded responses: problem, gold,"
        " response and grade, by model.",
        epilog="Reads RESULTS/<experiment>/evals/<run>/{samples,grades}.jsonl, and the problems.",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (%(default)s)"
    )
    parser.add_argument(
        "--problems", type=Path, help="folder of JSONL problems; else as configured"
    )
    parser.add_argument(
        "--runs", nargs="+", help="models; default: base and every method with the first seed"
    )
    parser.add_argument(
        "--number", type=int, default=6, help="problems of each benchmark (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="HTML file, written")
    args = parser.parse_args(argv)
    experiment = load_experiment(args.config)
    known = ["base", *experiment.runs]
    first = [run_name(name, experiment.seeds[0]) for name in experiment.methods]
    runs = args.runs or ["base", *first]
    if unknown := [run for run in runs if run not in known]:
        raise UserError(f"{args.config}: no run {unknown[0]!r}; there is {', '.join(known)}")
    if args.number < 1:
        raise UserError(f"--number is {args.number}, but must be at least 1")
    from kpo.evals.pages.responses import read_model, responses_page  # noqa: PLC0415
    from kpo.evals.sampling.sources import open_benchmarks  # noqa: PLC0415

    labels = {name: method.label for name, method in experiment.methods.items()}
    folder = args.results / experiment.experiment / "evals"
    models = [read_model(folder / run, labels.get(run_parts(run)[0], "Base model")) for run in runs]
    streams = open_benchmarks(experiment, args.problems)
    problems = {stream.name: stream.load(experiment.evaluate.limit) for stream in streams}
    title = f"{experiment.experiment}: graded responses"
    write_text(args.out, responses_page(title, models, problems, args.number))


if __name__ == "__main__":
    main()
