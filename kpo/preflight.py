"""Say what an experiment's training needs, before it starts, and refuse what will not fit.

    python -m kpo.preflight --config workflow/config/paper.yaml
    python -m kpo.preflight --config workflow/config/paper.yaml --memory-gb 80 --device-tflops 600

Memory is that of the worst step, in which every prompt and response is as long as it may be. The
step time follows from a matrix-product rate that is measured here, by shares of it that are
assumed; `timings.jsonl` of a run has the times that came true.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from kpo.architecture import ArchitectureError, architecture
from kpo.cli import experiment_argument, fail, load_or_exit
from kpo.config import Experiment
from kpo.footprint import RESERVE, Footprint, FootprintError, size_of
from kpo.machine import Machine, MachineError, machine_for
from kpo.tasks.problems import DataError, choose_folder, load_problems

TRAINING_SHARE = 0.5
"""Assumed: what forward and backward passes reach of the rate of one large matrix product."""
SAMPLING_SHARE = {"gpu": 0.05, "cpu": 0.25}
"""Assumed: token by token, the time goes into reading weights and cache. For each token of 128
half-long responses Qwen3-4B reads 8 GB and 48 GB: 17 ms at an H100's 3.3 TB/s, of which products
would take 1.5 ms. Processors have fewer operations to a byte."""


@dataclass(frozen=True)
class Preflight:
    """An experiment's needs beside what a machine has."""

    experiment: Experiment
    footprint: Footprint
    machine: Machine

    @cached_property
    def phases(self) -> dict[str, dict[str, float]]:
        """Bytes on each rank by part, while sampling and while learning."""
        engine = self.footprint.engine(self.machine.memory)
        asleep = 0.0 if self.footprint.engine_sleeps() else engine
        always = {**self.footprint.state(), "reserve": RESERVE}
        return {
            "rollout": {**always, "rollout engine": engine},
            "update": {**always, **self.footprint.update_parts(), "rollout engine": asleep},
        }

    def faults(self) -> list[str]:
        """A sentence for everything that will not fit: the part, and the setting to change."""
        found = [*self._not_installed(), *self._too_long(), *self._too_large()]
        runs = len(self.experiment.runs)
        need, free = self.footprint.disk(runs), self.machine.disk
        if free is not None and need > free:
            found.append(
                f"checkpoints and models of {runs} runs need {_gb(need)} of disk, but there are"
                f" {_gb(free)}: make room, or lower the number of seeds or methods"
            )
        return found

    def _not_installed(self) -> Iterator[str]:
        here, engine = self.machine.disk is not None, self.experiment.train.engine
        if here and engine == "vllm" and not importlib.util.find_spec("vllm"):
            yield "train.engine is vllm, which is not installed: install it, or take transformers"

    def _too_long(self) -> Iterator[str]:
        train, room = self.experiment.train, self.footprint.config.max_position_embeddings
        if train.longest > room:
            yield (
                f"train.max_prompt_tokens + train.max_response_tokens is {train.longest}, more than"
                f" the model's {room} positions: lower either"
            )
        if train.engine == "vllm":
            tokens = self.footprint.cache_tokens(self.machine.memory)
            if tokens < train.longest:
                share = self.phases["rollout"]["rollout engine"]
                part = "train.gpu_memory" if train.gpus else "VLLM_CPU_KVCACHE_SPACE"
                yield (
                    f"rollout engine: vLLM's share ({_gb(share)}) leaves a cache of {tokens} tokens"
                    f" beside the weights, too few for a sequence of {train.longest}: raise {part}"
                )

    def _too_large(self) -> Iterator[str]:
        for phase, parts in self.phases.items():
            if (total := sum(parts.values())) > self.machine.memory:
                largest = max((part for part in parts if part != "reserve"), key=lambda p: parts[p])
                yield (
                    f"{phase}: {_gb(total)} a rank do not fit into {_gb(self.machine.memory)}; the"
                    f" largest part is {largest} ({_gb(parts[largest])}): {self._remedy(largest)}"
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

    def report(self, problems: int | None) -> str:
        """Everything as text; `problems` is the size of the training set, where it matters."""
        return "\n".join(
            [*self._report_model(), *self._report_memory(), *self._report_time(problems)]
        )

    def _report_model(self) -> Iterator[str]:
        t, f = self.experiment.train, self.footprint
        each = len(f.micro_batches) // t.world
        yield f"{self.experiment.experiment}: {f.size.parameters:,} parameters"
        yield (
            f"step: {t.prompts} prompts x {t.group} responses of at most {t.longest:,} tokens with"
            f" their prompts, {f.responses * t.longest:,} together ({f.packed_tokens:,} packed)"
        )
        yield (
            f"update: {t.mini_batches} mini-batches, of at most {each} micro-batches on each of"
            f" {t.world} ranks; micro-batches of up to {t.max_tokens_per_microbatch:,} tokens"
        )

    def _report_memory(self) -> Iterator[str]:
        parts = list(dict.fromkeys(part for phase in self.phases.values() for part in phase))
        rows = {part: [phase.get(part, 0.0) for phase in self.phases.values()] for part in parts}
        rows["together"] = [sum(phase.values()) for phase in self.phases.values()]
        yield f"memory of a rank, of {_gb(self.machine.memory)}:"
        yield "  " + f"{'':26}" + "".join(f"{phase:>12}" for phase in self.phases)
        for name, values in rows.items():
            yield f"  {name:26}" + "".join(f"{_gb(value):>12}" for value in values)
        if self.experiment.train.engine == "vllm":
            tokens = self.footprint.cache_tokens(self.machine.memory)
            yield f"  vLLM's share holds the weights and a cache of about {tokens:,} tokens"
        yield f"disk: {_gb(self.footprint.disk(len(self.experiment.runs)))}"

    def _report_time(self, problems: int | None) -> Iterator[str]:
        t, f = self.experiment.train, self.footprint
        yield (
            f"operations of a step: {f.rollout:.3g} rollout, {f.forward:.3g} old log-probs,"
            f" {f.update:.3g} update"
        )
        yield (
            f"rate: {self.machine.rate / 1e12:.3g} TFLOP/s a rank in matrix products; assumed:"
            f" {TRAINING_SHARE:.0%} of it in training, {self.sampling_share:.0%} in sampling"
        )
        a_step = sum(self.seconds.values())
        parts = ", ".join(f"{name} {_duration(value)}" for name, value in self.seconds.items())
        yield f"longest step: {_duration(a_step)} ({parts})"
        if t.steps is None and problems is None:
            yield f"steps: {t.epochs} x problems / {t.prompts}; the problems cannot be loaded here"
        else:
            steps = t.total_steps(problems or 0)
            yield (
                f"{steps:,} steps: at most {_duration(a_step * steps)} a run,"
                f" {_duration(a_step * steps * len(self.experiment.runs))} for all"
                f" {len(self.experiment.runs)} runs one after the other"
            )


def problem_count(experiment: Experiment) -> int | None:
    """Training problems, where the number of steps depends on them and they can be loaded."""
    if experiment.train.steps is not None:
        return None
    if experiment.task is not None:
        return experiment.task.train
    folder = choose_folder(experiment.data.train_folder, "KPO_TRAIN_PROBLEMS")
    try:
        return len(
            load_problems(experiment.train.problems, folder=folder, sources=experiment.data.sources)
        )
    except DataError:
        return None


def _gb(value: float) -> str:
    return f"{value / 1e9:.2f} GB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"


def _positive(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise ValueError
    return value


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kpo.preflight",
        description="State what training needs (memory by part, tokens, operations, time, disk) and"
        " end with exit code 2 where it will not fit. Reads the experiment file and, unless the"
        " file states it, the model's configuration; loads no weights and writes nothing.",
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
        config = architecture(experiment.policy, experiment.positions)
        footprint = Footprint(experiment.train, config, size_of(config))
        machine = machine_for(experiment, config, args.memory_gb, args.device_tflops)
    except (ArchitectureError, FootprintError, MachineError) as error:
        fail(error)
    preflight = Preflight(experiment, footprint, machine)
    print(preflight.report(problem_count(experiment)))
    if faults := preflight.faults():
        fail("\nerror: ".join(faults))


if __name__ == "__main__":
    main()
