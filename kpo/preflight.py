"""Say what an experiment needs, before it starts, and refuse what will not fit.

    python -m kpo.preflight --config workflow/config/paper.yaml
    python -m kpo.preflight --config workflow/config/paper.yaml --memory-gb 80 --device-tflops 600

Memory is that of the worst step, in which every prompt and response is as long as it may be; so is
the evaluation. Times follow from a matrix-product rate that is measured here, by shares of it that
are stated; `timings.jsonl` of a run has the times that came true.
"""

from __future__ import annotations

from kpo.common.cli import command, fail, warn
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment
from kpo.planning.counts import benchmark_problems, training_problems, training_record
from kpo.trainer.training_set import stated


def _positive(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise ValueError
    return value


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "kpo.preflight",
        "State what training and evaluation need (memory by part, tokens, operations,"
        " time, disk) and end with exit code 2 where it will not fit. Reads the experiment file,"
        " problems that lie here and, unless the file states it, the model's configuration; loads"
        " no weights and writes nothing.",
    )
    parser.add_argument(
        "--memory-gb",
        type=_positive,
        help="of another GPU, or for runs on the CPU machine, in 10^9 bytes; default: this one's",
    )
    parser.add_argument(
        "--device-tflops",
        type=_positive,
        help="matrix-product rate of another GPU or rank, in 10^12 operations a second; default:"
        " measured. With --memory-gb too, GPUs and disk of this machine are not looked at",
    )
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    from kpo.model.architecture import architecture  # noqa: PLC0415
    from kpo.objective_check import check_methods  # noqa: PLC0415
    from kpo.planning.machine import machine_for  # noqa: PLC0415
    from kpo.planning.plan import Plan  # noqa: PLC0415
    from kpo.planning.report import Fault, Warned, report  # noqa: PLC0415

    check_methods({name: method.build() for name, method in experiment.methods.items()})
    config = architecture(experiment.policy, experiment.positions)
    machine = machine_for(experiment, config, args.memory_gb, args.device_tflops)
    record = training_record(experiment)
    problems, benchmarks = training_problems(experiment, record), benchmark_problems(experiment)
    said = report(Plan(experiment, config, machine, problems, benchmarks))
    print("\n".join(line for line in said if type(line) is str))
    if record is not None:
        print(f"{stated(record)}; prompts that are too long not counted")
    for warning in (line for line in said if isinstance(line, Warned)):
        warn(warning)
    if refused := [line for line in said if isinstance(line, Fault)]:
        fail("\nerror: ".join(refused))


if __name__ == "__main__":
    main()
