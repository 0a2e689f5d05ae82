"""The update phase's rate on the CPU over the machine's own in matrix products.

    python -m tests.bench.bench_update

Reads and writes nothing, prints a table. One optimizer step (micro-batches, GRPO, AdamW) for three
sizes of policy with random weights, in float32, and a product of two square matrices, in turns, by
one thread each; medians of the processor's time are compared, as the machine may have other work.
Operations are those that the step cannot do without.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kpo.common.allocator import keep_freed_memory
from kpo.config.policy import ScratchPolicy
from kpo.model.policy import Policy
from kpo.registry import make_objective
from kpo.tasks.tokenizer import character_tokenizer
from kpo.trainer.base_policy import scratch_policy
from kpo.trainer.step import StepMetrics, Updater
from tests.bench.our_side import word_policy
from tests.bench.update_work import operations, rollouts_of

ROUNDS = 5
SIDE = 2048
"""Of the square matrices whose product states the machine's rate."""


def default_policy() -> Policy:
    """The embedded default's architecture, 0.3 M parameters."""
    return scratch_policy(ScratchPolicy(kind="scratch"))


def smollm_policy() -> Policy:
    """SmolLM2-135M's architecture."""
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        intermediate_size=1536,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return Policy(LlamaForCausalLM(config), character_tokenizer(), frozenset([0]))


@dataclass(frozen=True)
class Work:
    """A policy, and the responses of one optimizer step: so many groups, of so many, so long."""

    policy: Callable[[], Policy]
    groups: int
    group: int
    tokens: int
    budget: int


WORK = {
    "0.3 M": Work(default_policy, groups=8, group=8, tokens=48, budget=2048),
    "10 M": Work(word_policy, groups=2, group=8, tokens=256, budget=2048),
    "135 M": Work(smollm_policy, groups=1, group=4, tokens=512, budget=4096),
}


def timed(run: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(work: Work) -> tuple[float, float]:
    """Operations a second of the update, and of the matrix product."""
    policy = work.policy()
    shape = (work.groups, work.group, work.tokens)
    rollouts = rollouts_of(policy, *shape, work.budget)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-6, fused=True)
    updater = Updater(policy, optimizer, make_objective("grpo"), work.budget, 1.0)
    rows = range(len(rollouts.responses))
    a, b = torch.randn(2, SIDE, SIDE)
    updates, products = [], []
    for _ in range(ROUNDS + 1):
        updates.append(timed(lambda: updater.update(rollouts, rows, StepMetrics())))
        products.append(min(timed(lambda: a @ b) for _ in range(5)))
    update, product = (statistics.median(seconds[1:]) for seconds in (updates, products))
    return operations(policy, *shape) / update, 2 * SIDE**3 / product


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", choices=WORK, default=list(WORK))
    sizes = parser.parse_args().sizes
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    for size in sizes:
        rate, best = measure(WORK[size])
        print(
            f"update of {size} parameters: {rate / 1e9:.1f} GFLOP/s,"
            f" {100 * rate / best:.0f} % of {best / 1e9:.1f}"
        )


if __name__ == "__main__":
    main()
