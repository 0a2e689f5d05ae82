"""Log-probs of sampled tokens from the chunked LM head beside the full logits: memory and time.

    python -m tests.bench.bench_head

Reads and writes nothing, prints a table. Forward and backward of 4,096 tokens over Qwen3's
vocabulary of 151,936 with hidden size 256, in float32 on the CPU. Every measurement is a process of
its own, as peak memory is one number a process; the two take turns (A B A B ...), medians compared.
Exits with 1 where values or gradients differ by more than 1e-5.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor

from kpo.model.head import token_logprobs

TOKENS, HIDDEN, VOCABULARY, ROUNDS = 4096, 256, 151_936, 3


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The usual way: all logits, a log-softmax over them, and one of each row."""
    logprobs = torch.log_softmax(hidden @ weight.t(), dim=-1)
    return logprobs.gather(1, targets[:, None]).squeeze(1)


WAYS = {"chunked": token_logprobs, "plain": plain}


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator).requires_grad_()
    weight = (torch.randn(VOCABULARY, HIDDEN, generator=generator) / 16).requires_grad_()
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    return hidden, weight, targets, torch.randn(TOKENS, generator=generator) / TOKENS


def peak_mb() -> float:
    """The process's largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(way: str) -> dict[str, float]:
    """Seconds of processor time and peak memory above the inputs, of one forward and backward."""
    torch.set_num_threads(1)
    hidden, weight, targets, g = inputs()
    before, start = peak_mb(), time.process_time()
    (WAYS[way](hidden, weight, targets) @ g).backward()
    return {"seconds": time.process_time() - start, "peak_mb": peak_mb() - before}


def difference() -> float:
    """Largest difference of values and gradients, each as a share of the largest entry."""
    found = []
    for way in WAYS.values():
        hidden, weight, targets, g = inputs()
        logprobs = way(hidden, weight, targets)
        found.append([logprobs.detach(), *torch.autograd.grad(logprobs @ g, (hidden, weight))])
        del logprobs
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", choices=WAYS, help="measure one, once, and print JSON")
    way = parser.parse_args().way
    if way:
        print(json.dumps(measure(way)))
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, found in results.items():
            command = [sys.executable, "-m", "tests.bench.bench_head", "--way", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
    medians = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in results.items()
    }
    print(f"log-probs of {TOKENS:,} tokens over {VOCABULARY:,}, forward and backward, one thread")
    for name, median in medians.items():
        print(
            f"{name:>8}  {median['seconds']:6.2f} s  {median['peak_mb']:7.0f} MiB above the inputs"
        )
    ours, theirs = medians["chunked"], medians["plain"]
    print(f"time {ours['seconds'] / theirs['seconds']:.2f}x (goal at most 1.2),", end=" ")
    print(f"memory 1/{theirs['peak_mb'] / ours['peak_mb']:.1f} (goal at most 1/8)")
    error = difference()
    print(f"largest difference of values and gradients: {error:.1e} of the largest entry")
    sys.exit(error > 1e-5)


if __name__ == "__main__":
    main()
