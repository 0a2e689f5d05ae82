"""The protocol of a rollout engine, and the records that cross it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from kpo.model.policy import Policy

NEUTRAL = {
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""The values at which further sampling parameters do nothing; every engine samples with these.

Spelled out so that no engine's own default decides, and manifests can say it.
"""


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled, `samples` of each prompt; training has temperature and top-p 1.

    The longest response has `max_tokens`, the end token included. Temperature 0 is greedy, top-p 1
    keeps every token. With `logprobs` responses carry those of their tokens.
    """

    samples: int
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    logprobs: bool = True


@dataclass(frozen=True)
class Response:
    """Sampled tokens, up to an end token (`stop`) or to max_tokens (`length`).

    `logprobs` are of each token under the distribution it was sampled from, in nats; empty where
    the sampling did not ask for them.
    """

    tokens: list[int]
    logprobs: list[float]
    finish: Literal["stop", "length"]


Finished = list[tuple[int, list[Response]]]
"""Prompts whose responses are all there: their place among the prompts, and the responses."""


class RolloutEngine(Protocol):
    """Samples responses from weights that it is given.

    Sample j of prompt i uses seeds[i] + j, of `sampling.samples`.
    """

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        """All prompts' responses, in order."""
        groups: dict[int, list[Response]] = {}
        for finished in self.stream(prompts, seeds, sampling):
            groups.update(finished)
        return [groups[i] for i in range(len(groups))]

    def stream(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[Finished]:
        """Responses as prompts are finished, in any order.

        Between two steps of a stream the engine may be asked for something else; weights may not
        change.
        """

    def sync_weights(self, policy: Policy) -> None:
        """Take over the policy's present weights, awake; collective where they are sharded."""

    def sleep(self) -> None:
        """Give memory back to training; the engine samples again after the next sync."""

    def describe(self) -> dict[str, Any]:
        """Name, version and settings of the engine, for manifests."""
