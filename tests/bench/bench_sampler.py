"""Tokens per second of the batched sampler beside `model.generate` of transformers.

    python -m tests.bench.bench_sampler

Reads and writes nothing, prints a table. Both sample 64 new tokens for a batch of 256 prompts from
the embedded default's architecture with random weights, without an end token, taking turns in one
process (A B A B ...); medians are compared.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from kpo.config.policy import ScratchPolicy
from kpo.model.policy import Policy
from kpo.rollout.engine import Sampling
from kpo.rollout.transformers import TransformersEngine
from kpo.trainer.base_policy import scratch_policy

BATCH, PROMPT, NEW, ROUNDS = 256, 16, 64, 7


def generate(policy: Policy, prompts: Tensor) -> int:
    """Sample with model.generate; the number of new tokens."""
    output = policy.model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        eos_token_id=None,
        pad_token_id=policy.tokenizer.pad_token_id,
    )
    return (output.shape[1] - prompts.shape[1]) * len(output)


def sampler(engine: TransformersEngine, prompts: Tensor) -> int:
    """Sample with the batched sampler; the number of new tokens."""
    groups = engine.generate(prompts.tolist(), list(range(len(prompts))), Sampling(1, NEW))
    return sum(len(response.tokens) for group in groups for response in group)


def rate(run: Callable[[], int]) -> float:
    """Tokens per second of one call."""
    start = time.perf_counter()
    return run() / (time.perf_counter() - start)


def main() -> None:
    policy = replace(scratch_policy(ScratchPolicy(kind="scratch")), eos=frozenset())
    policy.model.eval()
    engine = TransformersEngine(policy, batch=BATCH)
    prompts = torch.randint(2, 90, (BATCH, PROMPT), generator=torch.Generator().manual_seed(0))
    rivals: dict[str, Callable[[], int]] = {
        "model.generate": lambda: generate(policy, prompts),
        "batched sampler": lambda: sampler(engine, prompts),
    }
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(ROUNDS + 1):
        for name, run in rivals.items():
            value = rate(run)
            if turn:  # the first turn warms up
                rates[name].append(value)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"batch {BATCH}, {NEW} new tokens, {torch.get_num_threads()} threads")
    for name, median in medians.items():
        ratio = median / medians["model.generate"]
        print(f"{name:<16}{median:>10,.0f} tokens/s{ratio:>7.2f} x")


if __name__ == "__main__":
    main()
