"""Rollouts from the Hugging Face model itself, with a batched KV-cache sampler.

Every response has a random stream of its own, seeded by its prompt's seed and its index, and is
sampled by inverting the cumulative distribution at that stream's next uniform number. What is
sampled therefore depends neither on the batch around it nor on when its neighbours finish.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kpo.distributed.sharding import gathered_weights, is_sharded
from kpo.model.decoder import Decoder, make_decoder, pad_left
from kpo.model.policy import Policy
from kpo.rollout.engine import Finished, Response, Sampling, in_order

DROP_SHARE = 0.25
"""Finished rows leave the batch when they are this share of it: each time copies the cache."""


class TransformersEngine:
    """Samples with a model of its own, or with the trainer's where that is not sharded.

    Syncing refreshes the decoder's fused copies.
    """

    def __init__(self, policy: Policy, *, batch: int = 256) -> None:
        self.policy = policy
        self.batch = batch
        self.decoder: Decoder = make_decoder(policy.model)

    def sync_weights(self, policy: Policy) -> None:
        """See `RolloutEngine`."""
        if is_sharded(policy) or policy.model.dtype != self.policy.model.dtype:
            own = self.policy.model.state_dict()
            for name, weight in gathered_weights(policy.model):
                own[name].copy_(weight)
        else:
            self.policy = policy
        self.decoder = make_decoder(self.policy.model)

    def sleep(self) -> None:
        """See `RolloutEngine`: nothing is held between batches but the weights."""

    def describe(self) -> dict[str, Any]:
        """See `RolloutEngine`."""
        import transformers  # noqa: PLC0415 - slow to import

        dtype = str(self.policy.model.dtype).removeprefix("torch.")
        return {"name": "transformers", "version": transformers.__version__, "dtype": dtype}

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        """See `RolloutEngine`."""
        return in_order(self.stream(prompts, seeds, sampling))

    def stream(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[Finished]:
        """See `RolloutEngine`: a batch at a time."""
        k = sampling.samples
        rows = [(i, seeds[i] + j) for i in range(len(prompts)) for j in range(k)]
        left: list[Response] = []  # of a prompt whose last ones are in the next batch
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            first = (start - len(left)) // k
            left += self._sample([prompts[i] for i, _ in part], [s for _, s in part], sampling)
            whole = len(left) // k
            yield [(first + n, left[n * k : (n + 1) * k]) for n in range(whole)]
            left = left[whole * k :]

    @torch.inference_mode()
    def _sample(
        self, prompts: list[Sequence[int]], seeds: list[int], sampling: Sampling
    ) -> list[Response]:
        """One batch of rows, each with its own prompt and seed."""
        device = self.policy.device
        uniforms = torch.from_numpy(
            np.stack([np.random.default_rng(seed).random(sampling.max_tokens) for seed in seeds])
        ).to(device)
        # State of the rows that are still in the decoder; `row` is their place in the batch.
        row = torch.arange(len(prompts), device=device)
        done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
        tokens = torch.full((len(prompts), sampling.max_tokens), -1, device=device)
        logprobs = torch.zeros(tokens.shape, device=device)
        finished: dict[int, Response] = {}
        logits = self._prefill(prompts, sampling.max_tokens)
        for t in range(sampling.max_tokens):
            token, logprob = sample_tokens(logits.float(), uniforms[:, t], sampling)
            tokens[:, t] = token.masked_fill(done, -1)
            logprobs[:, t] = logprob
            done = done | self._ended(row, token, t + 1)
            left = len(done) - int(done.sum())
            if left == 0 or t + 1 == sampling.max_tokens:
                break
            if left <= (1 - DROP_SHARE) * len(done):
                finished.update(_responses(row[done], tokens[done], logprobs[done], done[done]))
                keep = (~done).nonzero().squeeze(1)
                row, done, uniforms = row[keep], done[keep], uniforms[keep]
                tokens, logprobs, token = tokens[keep], logprobs[keep], token[keep]
                self.decoder.keep(keep)
            logits = self.decoder.step(token)
        finished.update(_responses(row, tokens, logprobs, done))
        return [finished[i] for i in range(len(prompts))]

    def _prefill(self, prompts: list[Sequence[int]], max_new: int) -> Tensor:
        """Read each distinct prompt once, then copy its cache for its rows; logits [B, V]."""
        place: dict[tuple[int, ...], int] = {}
        for prompt in prompts:
            place.setdefault(tuple(prompt), len(place))
        logits = self.decoder.prefill(*pad_left(list(place), self.policy.device), max_new)
        if len(place) == len(prompts):
            return logits
        copies = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=logits.device)
        self.decoder.keep(copies)
        return logits[copies]

    def _ended(self, row: Tensor, token: Tensor, length: int) -> Tensor:
        """Which of these rows of the batch end with their token [B], their `length`-th."""
        del row, length  # a subclass may schedule the lengths
        return torch.isin(token, torch.tensor(sorted(self.policy.eos), device=token.device))


def _responses(row: Tensor, tokens: Tensor, logprobs: Tensor, done: Tensor) -> dict[int, Response]:
    """Responses by place; tokens [B, T] are -1 behind the end."""
    lengths = (tokens >= 0).sum(1).tolist()
    columns = row.tolist(), tokens.tolist(), logprobs.tolist(), lengths, done.tolist()
    return {
        i: Response(ids[:n], values[:n], "stop" if stopped else "length")
        for i, ids, values, n, stopped in zip(*columns, strict=True)
    }


def sample_tokens(logits: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Sample one token per row by inverting the cumulative distribution.

    Args:
        logits: [B, V] float32.
        uniform: [B] float64 in [0, 1).
        sampling: temperature and top-p.

    Returns: tokens [B] and their log-probs [B] under the distribution sampled from, in nats.
    """
    if sampling.temperature == 0:
        token = logits.argmax(-1)
        return token, torch.zeros_like(uniform, dtype=torch.float32)
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    probs = torch.softmax(logits, dim=-1)
    if sampling.top_p < 1:
        probs = _nucleus(probs, sampling.top_p)
    cdf = probs.cumsum(-1, dtype=torch.float64)
    # The last entry may differ from 1 by rounding; scaling u keeps every token reachable, and
    # right=True never picks a token of probability 0.
    target = uniform[:, None] * cdf[:, -1:]
    token = torch.searchsorted(cdf, target, right=True).clamp_(max=probs.shape[-1] - 1)
    return token.squeeze(1), probs.gather(1, token).squeeze(1).log()


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Keep the most probable tokens whose preceding mass is below top_p, and renormalise."""
    ranked, order = probs.sort(dim=-1, descending=True)
    ranked = ranked.masked_fill(ranked.cumsum(-1) - ranked >= top_p, 0)
    kept = torch.zeros_like(probs).scatter_(1, order, ranked)
    return kept / kept.sum(-1, keepdim=True)
