"""An update on packed micro-batches beside one on padded micro-batches: processor time.

    python -m tests.bench.bench_packing

Reads and writes nothing, prints a table. A random Qwen3 of 5 million parameters; 32 responses of 4
groups with log-uniform lengths from 32 to 1,024; forward, GRPO and backward of all of them in
micro-batches, in float32 on one thread. Padded: 8 responses at a time, each padded to the longest
of them, in the order they come or sorted by length. They take turns (A B C A B C ...), medians
compared. Exits with 1 where gradients differ by more than 1e-5 of the largest.
"""

import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen3Config, Qwen3ForCausalLM

from kpo.model.policy import Policy, response_logprobs
from kpo.objective import TokenBatch
from kpo.registry import make_objective
from kpo.rollout.engine import Response
from kpo.tasks.tokenizer import character_tokenizer
from kpo.trainer.batch import Prompt, micro_batches

GROUPS, GROUP, SHORTEST, LONGEST, PROMPT, ROUNDS = 4, 8, 32, 1024, 64, 3
VOCABULARY = 1024
Scores = tuple[Tensor, Tensor]


def workload() -> tuple[Policy, list[Prompt], list[Response]]:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=768,
        tie_word_embeddings=True,
    )
    policy = Policy(Qwen3ForCausalLM(config), character_tokenizer(), frozenset([0]))
    rng = random.Random(0)

    def tokens(count: int) -> list[int]:
        return [rng.randrange(VOCABULARY) for _ in range(count)]

    prompts = [Prompt(str(i), tokens(PROMPT), "") for i in range(GROUPS)]
    lengths = [
        round(math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST))))
        for _ in range(GROUPS * GROUP)
    ]
    return policy, prompts, [Response(tokens(n), [], "stop") for n in lengths]


def padded(policy: Policy, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> Scores:
    """Log-probs [B, T] and mask by the model's own forward pass on padded rows."""
    rows = [torch.tensor(x + y) for x, y in zip(prompts, responses, strict=True)]
    ids = pad_sequence(rows, batch_first=True)
    logits = policy.model(input_ids=ids, use_cache=False).logits[:, PROMPT - 1 : -1]
    targets = ids[:, PROMPT:]
    lengths = torch.tensor([len(y) for y in responses])
    mask = torch.arange(targets.shape[1]) < lengths[:, None]
    return logits.log_softmax(-1).gather(2, targets[..., None]).squeeze(2), mask


def packed(policy: Policy, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> Scores:
    """The same as the trainer does it."""
    logprobs, _, mask = response_logprobs(policy, prompts, responses)
    return logprobs, mask


def update(
    policy: Policy,
    prompts: list[Prompt],
    responses: list[Response],
    parts: list[list[int]],
    way: Callable[..., Scores],
) -> Tensor:
    """Gradient of GRPO's loss over all responses, flat."""
    policy.model.zero_grad(set_to_none=True)
    advantages = torch.linspace(-1, 1, len(responses))
    for rows in parts:
        logprobs, mask = way(
            policy, [prompts[i // GROUP].tokens for i in rows], [responses[i].tokens for i in rows]
        )
        old = logprobs.detach() + 0.01
        output = make_objective("grpo")(TokenBatch(logprobs, old, advantages[rows], mask))
        (output.loss / len(responses)).backward()
    return torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None])


def main() -> None:
    torch.set_num_threads(1)
    policy, prompts, responses = workload()
    everything = list(range(len(responses)))
    by_length = sorted(everything, key=lambda i: len(responses[i].tokens))
    run = partial(update, policy, prompts, responses)
    eights = [slice(i, i + 8) for i in range(0, len(responses), 8)]
    ways = {
        "packed": partial(run, micro_batches(prompts, responses, everything, 4096), packed),
        "padded": partial(run, [everything[part] for part in eights], padded),
        "padded, sorted by length": partial(run, [by_length[part] for part in eights], padded),
    }
    gradients = {name: way() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    tokens = sum(len(response.tokens) for response in responses)
    print(f"update on {len(responses)} responses of {tokens:,} tokens in all, one thread")
    for name, median in medians.items():
        print(f"{name:>25}  {median:6.2f} s  packed is {median / medians['packed']:.2f}x as fast")
    print("goal: at least 1.5x the padded one")
    whole = gradients["packed"]
    error = max(float((g - whole).abs().max() / whole.abs().max()) for g in gradients.values())
    print(f"largest difference between gradients: {error:.1e} of the largest entry")
    sys.exit(error > 1e-5)


if __name__ == "__main__":
    main()
