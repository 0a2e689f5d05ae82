"""A policy from a model folder: whether it is computed here as by its own code is tried first.

Packed rows, the chunked LM head and the decoders take a model apart. What they do not know of it,
such as another kind of attention, positions that follow from the batch, or a state that runs on
from token to token, would train it on log-probs that are not its own. So both are compared with
its plain forward pass, a sequence at a time, on a few random sequences of unequal lengths.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kpo.model.decoder import make_decoder, read_prompts
from kpo.model.files import ModelError, naming, read_model
from kpo.model.packing import ATTENTION
from kpo.model.policy import Policy, load_tokenizer, response_logprobs

MEAN_MISMATCH = {torch.float32: 1e-4, torch.float64: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Log-probs of one model, computed in two ways, differ by less than this in the mean, in nats.

Rounding alone makes 1e-6 of it in single and 1e-2 in half precision."""
MAX_MISMATCH = 100
"""... and the largest difference is less than this many times as much."""

PAIRS = [("a", 9), ("a", 31), ("b", 4), ("c", 26)]
"""Prompts, of which one stands twice, and tokens of the responses to them."""
PROMPT_TOKENS = {"a": 6, "b": 19, "c": 12}
LONG_RESPONSE = 6
DECODED = 3
"""Tokens that the decoder takes one at a time."""
EAGER_TOKENS = 2048
"""Sequences up to this length go through the model's own attention without any fused kernel."""

Pair = tuple[list[int], list[int]]


def load_policy(
    path: Path,
    *,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    longest: int | None = None,
) -> Policy:
    """Load a model folder and compare what is computed from it with its own forward pass.

    `dtype` is that of the weights, or `auto`: as they are stored; `longest` are the tokens of the
    longest sequence that will be used, None as long as the model can. Raises ModelError for a model
    that cannot be loaded or serve.
    """
    with naming(path):
        tokenizer, eos = load_tokenizer(path)
        policy = Policy(read_model(path, dtype=dtype).to(device), tokenizer, eos)
        check_agreement(policy, longest)
    return policy


def excess(gap: Tensor, mean: float) -> bool:
    """Whether differences of log-probs, in nats, are more than rounding; `mean` is the bound."""
    return not (float(gap.mean()) <= mean and float(gap.max()) <= MAX_MISMATCH * mean)


@torch.no_grad()
def check_agreement(policy: Policy, longest: int | None = None) -> None:
    """Raise ModelError unless packed log-probs and the decoder's are the model's own.

    `longest` is as in `load_policy`. One of the sequences is longer than every window and every
    other length below it at which the model changes its ways.
    """
    name = policy.model.config.model_type
    pairs = draw(policy, longest)
    own = [own_logprobs(policy.model, *pair) for pair in pairs]
    if not all(bool(values.isfinite().all()) for values in own):
        raise ModelError(f"{name}: the model's own log-probs are not finite")
    ways = {"packed log-probs": packed_gap, "the decoder's log-probs": decoder_gap}
    for what, measure in ways.items():
        try:
            gap = measure(policy, pairs, own)
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{name}, which is not supported, has no {what}: {reason}") from error
        if excess(gap, MEAN_MISMATCH[policy.model.dtype]):
            raise ModelError(
                f"{name}: {what} differ from the model's own by {float(gap.mean()):.2g} nats in the"
                f" mean and {float(gap.max()):.2g} at most: such models are not supported"
            )


def draw(policy: Policy, longest: int | None) -> list[Pair]:
    """Random prompts and responses, none of them longer than `longest` tokens together."""
    config = policy.model.config
    most = min(x for x in (longest, getattr(config, "max_position_embeddings", None), 1 << 20) if x)
    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(config.vocab_size, (count,), generator=generator).tolist()

    prompts = {key: tokens(min(count, most // 2)) for key, count in PROMPT_TOKENS.items()}
    pairs = [(prompts[key], tokens(min(count, most - len(prompts[key])))) for key, count in PAIRS]
    beyond = max((value for value in turns(config) if value < most), default=0)
    if beyond >= max(PROMPT_TOKENS[key] + count for key, count in PAIRS) - LONG_RESPONSE:
        length = min(beyond + 2 * LONG_RESPONSE, most)
        pairs.append((tokens(length - LONG_RESPONSE), tokens(LONG_RESPONSE)))
    return pairs


def turns(config: Any) -> list[int]:
    """Lengths at which a model may change its ways: windows, chunks, ranges of its positions."""
    stated = config.to_json_string(use_diff=False)
    found = re.findall(r'"\w*(?:window|chunk|position)\w*": (\d+)\b', stated)
    return [int(length) for length in found]


def own_logprobs(model: Any, prompt: list[int], response: list[int]) -> Tensor:
    """The model's own log-probs [T, V] where the tokens of a response stand."""
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    count = len(response) + 1
    model.set_attn_implementation("eager" if ids.shape[1] <= EAGER_TOKENS else ATTENTION)
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=count).logits
    model.set_attn_implementation(ATTENTION)
    return logits[0, -count:-1].float().log_softmax(-1)


def packed_gap(policy: Policy, pairs: list[Pair], own: list[Tensor]) -> Tensor:
    """Differences of all response tokens' log-probs, packed in one row, from the model's own."""
    prompts, responses = zip(*pairs, strict=True)
    found, _, mask = response_logprobs(policy, prompts, responses)
    targets = (torch.tensor(response, device=found.device) for response in responses)
    expected = [full.gather(1, y[:, None])[:, 0] for full, y in zip(own, targets, strict=True)]
    return (found[mask] - torch.cat(expected)).abs()


def decoder_gap(policy: Policy, pairs: list[Pair], own: list[Tensor]) -> Tensor:
    """The same of whole distributions, as the sampler reads prompts and adds token after token."""
    decoder, gaps = make_decoder(policy.model), []
    steps = min(DECODED, *(len(response) for _, response in pairs))
    logits = read_prompts(decoder, [prompt for prompt, _ in pairs], steps, policy.device)
    for step in range(steps):
        expected = torch.stack([full[step] for full in own])
        gaps.append((logits.float().log_softmax(-1) - expected).abs())
        tokens = [response[step] for _, response in pairs]
        logits = decoder.step(torch.tensor(tokens, device=logits.device))
    return torch.stack(gaps)
