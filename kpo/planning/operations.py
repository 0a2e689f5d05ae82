"""Tokens and floating-point operations of the longest step, and the time that they take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from kpo.config.train import Train
from kpo.distributed.ranks import Ranks
from kpo.planning.passes import cost
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, micro_batches

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
class Step:
    """The longest step of a run, with a model of this configuration in transformers."""

    train: Train
    config: Any

    @property
    def responses(self) -> int:
        """That are sampled."""
        return self.train.prompts * self.train.group

    @cached_property
    def micro_batches(self) -> list[list[int]]:
        """Rows of each micro-batch of a mini-batch, of all ranks together."""
        t = self.train
        prompts = [Prompt("", [0] * t.max_prompt_tokens, "")] * (t.prompts // t.mini_batches)
        responses = [Response([0] * t.max_response_tokens, [], "length")] * len(prompts) * t.group
        rows, budget = range(len(responses)), t.max_tokens_per_microbatch
        cut = partial(micro_batches, prompts, responses, rows, budget)
        return [part for rank in range(t.world) for part in cut(Ranks(rank, t.world))]

    @property
    def prompts(self) -> int:
        """That forward passes read: a prompt stands once in a micro-batch."""
        read = sum(len({row // self.train.group for row in part}) for part in self.micro_batches)
        return read * self.train.mini_batches

    @property
    def packed_tokens(self) -> int:
        """That forward passes see."""
        t = self.train
        return self.prompts * t.max_prompt_tokens + self.responses * t.max_response_tokens

    @cached_property
    def operations(self) -> dict[str, float]:
        """Of each phase, on all ranks together."""
        t = self.train
        lengths = [(t.max_prompt_tokens, t.max_response_tokens)]
        how = {"checkpointing": t.activation_checkpointing, "shared": True}
        one, two = (cost(self.config, lengths * n, **how) for n in (1, 2))
        further = self.responses - self.prompts  # responses to a prompt that is read already
        return {
            "rollout": self.responses * one.forward,  # each reads its prompt and itself once
            "old log-probs": self.prompts * one.forward + further * (two.forward - one.forward),
            "update": self.prompts * one.update + further * (two.update - one.update),
        }

    def seconds(self, rate: float) -> dict[str, float]:
        """Of each phase; a rank makes so many operations a second in large matrix products."""
        shares = {"rollout": sampling_share(self.train.gpus)}
        return {
            phase: count / (shares.get(phase, TRAINING_SHARE) * rate * self.train.world)
            for phase, count in self.operations.items()
        }
