"""Sample responses of one model to every benchmark problem.

    python -m evals.sample --config workflow/config/tiny.yaml --run gspo-s0 \\
        --model results/tiny/runs/gspo-s0/model --problems results/tiny/problems \\
        --out results/tiny/evals/gspo-s0/samples.jsonl

A problem is written when its samples are there, so a run that was killed samples only what was in
flight again. What another job has sampled ahead (`evals.sampling.sampler`) is taken as it is.
"""

from __future__ import annotations

from pathlib import Path

from kpo.common.cli import command, fail
from kpo.common.lock import hold
from kpo.config.builds import check_builds
from kpo.config.cli import experiment_parser
from kpo.config.experiment import Experiment, load_experiment
from kpo.evals.sampling.unfinished import UnfinishedSamples, inputs_hash


def run(
    experiment: Experiment,
    name: str,
    model: Path,
    problems: Path | None,
    out: Path,
    queue: Path | None = None,
    checked: Path | None = None,
) -> None:
    """Write samples.jsonl and, last, the manifest beside it; then go on with those in the queue.

    Waits for a job that samples this run ahead.
    """
    unfinished = UnfinishedSamples(out)
    hold(unfinished.lock, wait=True)
    inputs = inputs_hash(experiment, name, model, problems)
    if unfinished.is_finished(inputs):
        unfinished.publish()
    else:
        from kpo.evals.sampling.sampler import Sampler  # noqa: PLC0415 - slow to import

        sampler = Sampler(experiment, problems, checked)
        sampler.sample(name, model, unfinished, inputs)
        unfinished.publish()
        if queue is not None:
            sampler.go_on(queue)
    unfinished.remove()  # last: who dies before is sampled already when the job runs again


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "evals.sample",
        "Sample a model's responses to the experiment's benchmarks. Reads the"
        " experiment file, the model and the problems; writes samples.jsonl, a line a response, and"
        " manifest.json beside it.",
    )
    parser.add_argument(
        "--run",
        required=True,
        help="base, or <method>-s<seed>; the seed enters those of the samples",
    )
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder, read")
    parser.add_argument(
        "--problems", type=Path, help="folder of JSONL problems; else as configured"
    )
    parser.add_argument("--out", type=Path, required=True, help="samples.jsonl to write")
    parser.add_argument(
        "--queue",
        type=Path,
        help="folder of evaluations: sample those ahead whose <run>/asked names a model",
    )
    parser.add_argument(
        "--checked", type=Path, help="what evals.benchmarks wrote: golds it names are usable"
    )
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    if not args.model.is_dir():
        fail(f"--model {args.model}: no such folder")
    hold(args.out)
    check_builds(experiment)
    run(experiment, args.run, args.model, args.problems, args.out, args.queue, args.checked)


if __name__ == "__main__":
    main()
