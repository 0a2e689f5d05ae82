"""Say what an experiment needs, before it starts, and refuse what will not fit.

    python -m kpo.preflight --config workflow/config/paper.yaml
    python -m kpo.preflight --config workflow/config/paper.yaml --memory-gb 80 --device-tflops 600

Memory is that of the worst step, in which every prompt and response is as long as it may be; so is
the evaluation. Times follow from a matrix-product rate that is measured here, by shares of it that
are stated; `timings.jsonl` of a run has the times that came true.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from kpo.common.cli import fail
from kpo.config.cli import experiment_argument, load_or_exit
from kpo.config.experiment import Experiment
from kpo.config.limits import faults_of
from kpo.model.architecture import architecture
from kpo.model.files import ModelError
from kpo.objective_check import ObjectiveError, check_methods
from kpo.planning.evaluation_footprint import EvaluationFootprint
from kpo.planning.footprint import TRAINING_SHARE, Footprint, FootprintError, size_of
from kpo.planning.machine import Machine, MachineError, gb, machine_for
from kpo.planning.report import report
from kpo.planning.sampling_footprint import RESERVE, SAMPLING_SHARE
from kpo.tasks.datasets.counts import benchmark_problems, training_problems, training_record
from kpo.tasks.problems import DataError
from kpo.tasks.training_set import stated

SPARE = 0.1
"""Share of the memory that should stay free: what is counted can be off by as much."""


@dataclass(frozen=True)
class Preflight:
    """An experiment's needs beside what a machine has; `problems` is the training set's size."""

    experiment: Experiment
    footprint: Footprint
    machine: Machine
    problems: int | None
    evaluation: EvaluationFootprint

    @cached_property
    def phases(self) -> dict[str, dict[str, float]]:
        """Bytes on each rank by part, while sampling and while learning."""
        engine = self.footprint.sampler.memory(self.machine.memory)
        asleep = 0.0 if self.footprint.engine_sleeps() else engine
        always = {**self.footprint.state(), "reserve": RESERVE}
        return {
            "rollout": {**always, "rollout engine": engine},
            "update": {**always, **self.footprint.update_parts(), "rollout engine": asleep},
        }

    def faults(self) -> list[str]:
        """A sentence for everything that will not fit: the part, and the setting to change."""
        return [
            *self._not_installed(),
            *self._too_long(),
            *self._too_large(),
            *self.evaluation.faults(),
            *self._too_much_on_disk(),
        ]

    def warnings(self) -> list[str]:
        """A sentence for everything that may not fit."""
        return [*self._tight(), *self._tight_together()]

    def _tight(self) -> Iterator[str]:
        there = self.machine.memory
        for phase, parts in self.phases.items():
            if (1 - SPARE) * there < (total := sum(parts.values())) <= there:
                yield (
                    f"{phase}: {gb(total)} of {gb(there)} leave less than {SPARE:.0%}"
                    f" to spare, by which these figures may be off: {self._remedy(_largest(parts))}"
                )

    def _tight_together(self) -> Iterator[str]:
        """Runs on the CPU share its memory with each other."""
        at_once, train = self.machine.at_once or 1, self.experiment.train
        a_run = train.world * max(sum(parts.values()) - RESERVE for parts in self.phases.values())
        there = train.world * self.machine.memory
        if not train.gpus and a_run <= there < at_once * a_run:
            yield (
                f"{at_once} runs at a time, for which there are cores, need"
                f" {gb(at_once * a_run)} of {gb(there)}: give snakemake fewer"
                " --cores, or raise train.threads"
            )

    def _not_installed(self) -> Iterator[str]:
        if self.machine.disk is None or importlib.util.find_spec("vllm"):
            return
        for key, engine in (
            ("train", self.experiment.train.engine),
            ("evaluate", self.experiment.evaluate.engine),
        ):
            if engine == "vllm":
                yield (
                    f"{key}.engine is vllm, which is not installed: install it, or take"
                    " transformers"
                )

    def _too_much_on_disk(self) -> Iterator[str]:
        runs, at_once, free = (
            len(self.experiment.runs),
            self.machine.at_once or 1,
            self.machine.disk,
        )
        need = at_once * self.footprint.checkpoints() + self.footprint.models(runs)
        if free is not None and need > free:
            yield (
                f"checkpoints of {at_once} runs at a time and models of {runs} runs need"
                f" {gb(need)} of disk, but there are {gb(free)}: make room, let fewer"
                " run at a time, or lower the number of seeds or methods"
            )

    def _too_long(self) -> Iterator[str]:
        train = self.experiment.train
        yield from faults_of(train, self.experiment.evaluate, self.footprint.config)
        if train.engine == "vllm":
            tokens = self.footprint.sampler.cache_tokens(self.machine.memory)
            if tokens < train.longest:
                share = self.phases["rollout"]["rollout engine"]
                part = "train.gpu_memory" if train.gpus else "VLLM_CPU_KVCACHE_SPACE"
                yield (
                    f"rollout engine: vLLM's share ({gb(share)}) leaves a cache of {tokens} tokens"
                    f" beside the weights, too few for a sequence of {train.longest}: raise {part}"
                )

    def _too_large(self) -> Iterator[str]:
        for phase, parts in self.phases.items():
            if (total := sum(parts.values())) > self.machine.memory:
                largest = _largest(parts)
                yield (
                    f"{phase}: {gb(total)} a rank do not fit into {gb(self.machine.memory)}; the"
                    f" largest part is {largest} ({gb(parts[largest])}): {self._remedy(largest)}"
                )

    def _remedy(self, part: str) -> str:
        train = self.experiment.train
        if part in ("activations", "LM head and temporaries"):
            if not train.activation_checkpointing:
                return "set train.activation_checkpointing to true"
            return "lower train.max_tokens_per_microbatch"
        if part == "rollout engine":
            asked = "train.gpu_memory" if self.footprint.engine_sleeps() else "train.group"
            return f"lower {asked}"
        return "raise train.gpus" if train.gpus else "choose a smaller policy"

    @property
    def sampling_share(self) -> float:
        """Of the matrix-product rate."""
        return SAMPLING_SHARE["gpu" if self.experiment.train.gpus else "cpu"]

    @property
    def seconds(self) -> dict[str, float]:
        """Expected, of each phase of the longest step."""
        f, rate = self.footprint, self.machine.rate * self.experiment.train.world
        return {
            "rollout": f.rollout / (self.sampling_share * rate),
            "old log-probs": f.forward / (TRAINING_SHARE * rate),
            "update": f.update / (TRAINING_SHARE * rate),
        }

    @property
    def step(self) -> float:
        """Seconds of the longest step."""
        return sum(self.seconds.values())

    @property
    def run_seconds(self) -> float | None:
        """Of a run at most; None where the number of its problems, and so of steps, is unknown."""
        train = self.experiment.train
        if train.steps is None and self.problems is None:
            return None
        return self.step * train.total_steps(self.problems or 0)


def _largest(parts: dict[str, float]) -> str:
    return max((part for part in parts if part != "reserve"), key=lambda part: parts[part])


def _positive(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise ValueError
    return value


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kpo.preflight",
        description="State what training and evaluation need (memory by part, tokens, operations,"
        " time, disk) and end with exit code 2 where it will not fit. Reads the experiment file,"
        " problems that lie here and, unless the file states it, the model's configuration; loads"
        " no weights and writes nothing.",
    )
    experiment_argument(parser)
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
    experiment = load_or_exit(args.config)
    try:
        check_methods({name: method.build() for name, method in experiment.methods.items()})
        config = architecture(experiment.policy, experiment.positions)
        size = size_of(config)
        machine = machine_for(experiment, config, args.memory_gb, args.device_tflops)
        record = training_record(experiment)
        preflight = Preflight(
            experiment,
            Footprint(experiment.train, config, size),
            machine,
            training_problems(experiment, record),
            EvaluationFootprint(
                experiment, config, size, machine.evaluation, benchmark_problems(experiment)
            ),
        )
        text = report(preflight)
    except (ModelError, DataError, FootprintError, MachineError, ObjectiveError) as error:
        fail(error)
    print(text)
    if record is not None:
        print(f"{stated(record)}; prompts that are too long not counted")
    for warning in preflight.warnings():
        sys.stderr.write(f"warning: {warning}\n")
    if faults := preflight.faults():
        fail("\nerror: ".join(faults))


if __name__ == "__main__":
    main()
