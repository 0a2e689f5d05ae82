"""The update phase on a GPU: model FLOP utilisation, tokens a second, peak memory.

    python -m tests.bench.bench_update_gpu                      # Qwen3-4B's shape, random weights
    python -m tests.bench.bench_update_gpu --device cpu --layers 2 --hidden 256 --tokens 512 ...

Reads and writes nothing, prints a table; without a GPU it says so and ends. One optimizer step of
the trainer (FSDP2 of one rank, bfloat16 with float32 masters, activation checkpointing, packed
micro-batches, GRPO) on 8 responses to a prompt of 64 tokens. Utilisation counts 6 N operations a
token and attention's products, forward and backward, once each: what checkpointing computes again
is not counted, padding does not exist. The rate it is a share of is the device's peak in dense
bfloat16 products, 989e12 for an H100 SXM as its data sheet says; give --peak-tflops for another.
"""

import argparse
import statistics
import time

import torch
from tqdm import tqdm
from transformers import Qwen3Config, Qwen3ForCausalLM

from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import shard
from kpo.model.policy import Policy, recompute
from kpo.registry import make_objective
from kpo.tasks.tokenizer import character_tokenizer
from kpo.trainer.step import StepMetrics, Updater
from tests.bench.update_work import PROMPT, operations, rollouts_of

GROUP = 8


def policy_of(args: argparse.Namespace, device: torch.device) -> Policy:
    """Qwen3-4B's architecture, smaller where the arguments say so, with random weights."""
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 80,
        num_key_value_heads=args.hidden // 320,
        head_dim=128,
        intermediate_size=3 * args.hidden + 2048,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
    )
    with device:
        model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    policy = shard(
        Policy(model, character_tokenizer(), frozenset([0])), Ranks(device=device), "bfloat16"
    )
    recompute(policy.model)
    return policy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--hidden", type=int, default=2560)
    parser.add_argument("--tokens", type=int, default=4096, help="of a response")
    parser.add_argument("--budget", type=int, default=16_384, help="tokens of a micro-batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("update on a GPU: not measured, as torch sees no GPU")
        return
    device = torch.device(args.device)
    policy = policy_of(args, device)
    rollouts = rollouts_of(policy, 1, GROUP, args.tokens, args.budget)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-6, fused=True)
    updater = Updater(policy, optimizer, make_objective("grpo"), args.budget, 1.0)
    seconds = []
    for _ in tqdm(range(args.rounds + 1), desc="update"):
        start = time.perf_counter()
        updater.update(rollouts, range(GROUP), StepMetrics())
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[1:])  # the first one warms up
    parameters = sum(p.numel() for p in policy.model.parameters()) / 1e9
    tokens = PROMPT + GROUP * args.tokens
    rate = operations(policy, 1, GROUP, args.tokens) / median
    print(f"update of {parameters:.2f} B parameters on {tokens:,} tokens: {median:.2f} s")
    print(f"{tokens / median:,.0f} tokens/s, {rate / 1e12:.1f} TFLOP/s,", end=" ")
    print(f"{100 * rate / args.peak_tflops / 1e12:.1f} % of {args.peak_tflops:g} (goal 45 %)")
    if device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
