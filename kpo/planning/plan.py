"""What an experiment needs beside what a machine has: tokens, operations, time, memory, disk.

All of it is for the longest step, in which every prompt and response is as long as it may be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from kpo.config.experiment import Experiment
from kpo.config.train import Train
from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import needs_sharding
from kpo.planning.machine import Machine
from kpo.planning.memory import OWN_BATCH, RESERVE, Sampler, Size, number, size_of
from kpo.planning.passes import Cost, cost
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, micro_batches

MASTER = 4
"""Bytes of a weight where it is trained: float32."""
CHECKPOINTS = 3
"""The last two are kept while the next is written."""
TRAINING_SHARE = 0.415
"""What forward and backward passes reach of the rate of one large matrix product.

1,181 TFLOP in 3.82 s, beside 746 TFLOP/s, with Qwen3-4B's shape on an H200
(`tests.bench.bench_update_gpu`).
"""


def sampling_share(gpus: int) -> float:
    """What sampling is taken to reach of that rate.

    Token by token, the time goes into reading weights and cache. For each token of 128 half-long
    responses Qwen3-4B reads 8 GB and 48 GB: 17 ms at an H100's 3.3 TB/s, of which products would
    take 1.5 ms. Processors have fewer operations to a byte.
    """
    return 0.05 if gpus else 0.25


@dataclass(frozen=True)
class Plan:
    """An experiment on a machine, with the model's configuration in transformers.

    `problems` are those of the training set, `benchmarks` those of each; None for unknown numbers.
    """

    experiment: Experiment
    config: Any
    machine: Machine
    problems: int | None
    benchmarks: dict[str, int | None]

    @cached_property
    def rows(self) -> dict[Train, tuple[Plan, int]]:
        """A plan for each way in which rows are trained, and how many runs are."""
        found: dict[Train, tuple[Plan, int]] = {}
        for one in map(self.experiment.only, self.experiment.methods):
            plan, runs = found.get(one.train, (replace(self, experiment=one), 0))
            found[one.train] = plan, runs + len(one.runs)
        return found

    @property
    def responses(self) -> int:
        """That are sampled in a step."""
        return self.experiment.train.prompts * self.experiment.train.group

    @cached_property
    def micro_batches(self) -> list[list[int]]:
        """Rows of each micro-batch of a mini-batch, of all ranks together."""
        t = self.experiment.train
        prompts = [Prompt("", [0] * t.max_prompt_tokens, "")] * (t.prompts // t.mini_batches)
        responses = [Response([0] * t.max_response_tokens, [], "length")] * len(prompts) * t.group
        rows, budget = range(len(responses)), t.max_tokens_per_microbatch
        cut = partial(micro_batches, prompts, responses, rows, budget)
        return [part for rank in range(t.world) for part in cut(Ranks(rank, t.world))]

    @property
    def prompts(self) -> int:
        """That forward passes of a step read: a prompt stands once in a micro-batch."""
        t = self.experiment.train
        read = sum(len({row // t.group for row in part}) for part in self.micro_batches)
        return read * t.mini_batches

    @property
    def packed_tokens(self) -> int:
        """That forward passes of a step see."""
        t = self.experiment.train
        return self.prompts * t.max_prompt_tokens + self.responses * t.max_response_tokens

    @cached_property
    def operations(self) -> dict[str, float]:
        """Of each phase of a step, on all ranks together."""
        t = self.experiment.train
        lengths = [(t.max_prompt_tokens, t.max_response_tokens)]
        how = {"checkpointing": t.activation_checkpointing, "shared": True}
        one, two = (cost(self.config, lengths * n, **how) for n in (1, 2))
        further = self.responses - self.prompts  # responses to a prompt that is read already
        return {
            "rollout": self.responses * one.forward,  # each reads its prompt and itself once
            "old log-probs": self.prompts * one.forward + further * (two.forward - one.forward),
            "update": t.passes * (self.prompts * one.update + further * (two.update - one.update)),
        }

    @property
    def seconds(self) -> dict[str, float]:
        """Of each phase of a step."""
        t, rate = self.experiment.train, self.machine.rank.rate
        shares = {"rollout": sampling_share(t.gpus)}
        return {
            phase: count / (shares.get(phase, TRAINING_SHARE) * rate * t.world)
            for phase, count in self.operations.items()
        }

    def training_seconds(self, problems: int) -> float:
        """Of all runs on so many problems, one after the other, each row as it is trained."""
        return sum(
            runs * train.total_steps(problems) * sum(plan.seconds.values())
            for train, (plan, runs) in self.rows.items()
        )

    def evaluation_seconds(self, rate: float) -> float:
        """Of one model on the benchmarks of known size, on devices of this rate."""
        e = self.experiment.evaluate
        lengths = [(self.experiment.train.max_prompt_tokens, e.max_response_tokens)]
        responses = e.samples * sum(filter(None, self.benchmarks.values()))
        rate *= sampling_share(e.gpus) * self.evaluation.spread
        return responses * cost(self.config, lengths).forward / rate

    @cached_property
    def size(self) -> Size:
        """The model's. Raises ModelError for one that the trainer does not support."""
        return size_of(self.config)

    @cached_property
    def rollout(self) -> Sampler:
        """The engine of a rank."""
        t = self.experiment.train
        batch = min(OWN_BATCH, -(-t.prompts // t.world) * t.group)
        own = needs_sharding(t.world, t.dtype)  # else it samples with the trainer's
        return Sampler(t, self.config, self.size, t.longest, batch, own)

    @cached_property
    def evaluation(self) -> Sampler:
        """The engine of an evaluation, whose prompts are as long as training's."""
        e = self.experiment.evaluate
        longest = self.experiment.train.max_prompt_tokens + e.max_response_tokens
        return Sampler(e, self.config, self.size, longest, spread=max(1, e.gpus))

    @property
    def largest_micro_batch(self) -> Cost:
        """The token budget in the longest sequences, or fewer, each with a prompt of its own."""
        t = self.experiment.train
        most = t.prompts // t.mini_batches * t.group // t.world
        whole, rest = divmod(t.max_tokens_per_microbatch, t.longest)
        lengths = [(t.max_prompt_tokens, t.max_response_tokens)] * min(whole, most)
        if whole < most and rest >= 2:
            lengths.append((1, rest - 1))
        grouped = not (t.gpus and t.scoring == "float32")
        recompute = t.activation_checkpointing
        return cost(self.config, lengths, dtype=t.scoring, checkpointing=recompute, grouped=grouped)

    @cached_property
    def phases(self) -> dict[str, dict[str, float]]:
        """Bytes on each rank by part, while sampling and while learning."""
        t, size = self.experiment.train, self.size
        engine = self.rollout.memory(self.machine.rank.memory)
        asleep = self.rollout.with_vllm and t.gpus
        share = MASTER * size.parameters / t.per_node  # each machine has them all
        always = {"master weights": share, "AdamW moments": 2 * share, "reserve": RESERVE}
        gathered = root = 0.0
        if needs_sharding(t.world, t.scoring):
            pair = 2 * size.layer  # a layer and the next, with their gradients before reduction
            gathered = number(t.scoring) * (size.root + 2 * pair) + MASTER * pair
            root = (number(t.scoring) + MASTER) * size.root  # reduced at the very end
        working = self.largest_micro_batch
        return {
            "rollout": {**always, "rollout engine": engine},
            "update": {
                **always,
                "rollout engine": 0.0 if asleep else engine,
                "gradients": share,
                "gathered layers": gathered,
                "activations": float(working.kept),
                "LM head and temporaries": max(working.peak, root) - working.kept,
            },
        }

    @property
    def checkpoints_disk(self) -> float:
        """Bytes on the disk while a run trains."""
        return CHECKPOINTS * 3.0 * MASTER * self.size.parameters

    @property
    def models_disk(self) -> float:
        """Bytes on the disk of the final models of all runs, and the base."""
        runs, dtype = len(self.experiment.runs), self.experiment.train.dtype
        return (runs + 1.0) * number(dtype) * self.size.parameters
