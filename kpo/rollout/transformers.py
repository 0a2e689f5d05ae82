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
import transformers
from torch import Tensor

from kpo.distributed.sharding import gathered_weights, is_sharded
from kpo.model.decoder import Decoder, make_decoder, read_prompts
from kpo.model.policy import Policy
from kpo.rollout.engine import Finished, Response, RolloutEngine, Sampling

DROP_SHARE = 0.25
"""Finished rows leave the batch when they are this share of it: each time copies the cache."""


class TransformersEngine(RolloutEngine):
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
        dtype = str(self.policy.model.dtype).removeprefix("torch.")
        return {"name": "transformers", "version": transformers.__version__, "dtype": dtype}

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
        shape, device = (len(prompts), sampling.max_tokens), self.policy.device
        streams = [np.random.default_rng(seed).random(sampling.max_tokens) for seed in seeds]
        uniforms = torch.from_numpy(np.stack(streams)).to(device)
        tokens = torch.full(shape, -1, device=device)  # -1 behind the end
        logprobs = torch.zeros(shape, device=device)
        done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
        row = torch.arange(len(prompts), device=device)  # those that the decoder still has
        logits = read_prompts(self.decoder, prompts, sampling.max_tokens, device)
        for t in range(sampling.max_tokens):
            token, logprob = sample_tokens(logits.float(), uniforms[row, t], sampling)
            tokens[row, t] = token.masked_fill(done[row], -1)
            logprobs[row, t] = logprob
            done[row] |= self._ended(row, token, t + 1)
            going = (~done[row]).nonzero().squeeze(1)
            if len(going) == 0 or t + 1 == sampling.max_tokens:
                break
            if len(going) <= (1 - DROP_SHARE) * len(row):
                row, token = row[going], token[going]
                self.decoder.keep(going)
            logits = self.decoder.step(token)
        lengths = (tokens >= 0).sum(1).tolist()
        columns = tokens.tolist(), logprobs.tolist(), lengths, done.tolist()
        return [
            Response(ids[:n], values[:n], "stop" if stopped else "length")
            for ids, values, n, stopped in zip(*columns, strict=True)
        ]

    def _ended(self, row: Tensor, token: Tensor, length: int) -> Tensor:
        """Which of these rows of the batch end with their token [B], their `length`-th.

        A subclass may schedule the lengths.
        """
        return torch.isin(token, torch.tensor(sorted(self.policy.eos), device=token.device))


def sample_tokens(logits: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Sample one token per row of logits [B, V], by inverting the cumulative distribution.

    `uniform` [B] are float64 in [0, 1). Returns tokens [B] and their log-probs [B] under the
    distribution sampled from, in nats.
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
