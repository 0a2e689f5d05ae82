"""The workloads of the trainer's benchmark, and how its two sides speak to it.

Both sides import this module, each in an environment of its own: nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEVER = -1
"""The end token of both sides: no model samples it, so lengths are as scheduled."""


@dataclass(frozen=True)
class Workload:
    """One training step: `prompts` x `group` responses in `mini_batches` optimizer steps.

    Response lengths are spread log-uniformly over [shortest, longest]: the same multiset each step,
    in an order of its own, so that every step has the same number of tokens. `rounds` are timed.
    """

    name: str
    prompts: int
    shortest: int
    longest: int
    lr: float
    rounds: int
    group: int = 8
    mini_batches: int = 4
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    clip: float = 0.2

    @property
    def responses(self) -> int:
        """Responses of a step."""
        return self.prompts * self.group

    def lengths(self, step: int) -> list[int]:
        """Length of each response of a step, in tokens."""
        ratio, n = self.longest / self.shortest, self.responses
        lengths = [round(self.shortest * ratio ** ((i + 0.5) / n)) for i in range(n)]
        random.Random(step).shuffle(lengths)
        return lengths

    @property
    def tokens(self) -> int:
        """Response tokens of a step."""
        return sum(self.lengths(0))


WORKLOADS = {
    work.name: work
    for work in (
        Workload("tiny", prompts=32, shortest=48, longest=48, lr=1.5e-4, rounds=15),
        Workload("skewed", prompts=4, shortest=32, longest=512, lr=1e-4, rounds=3),
    )
}


def parity(text: str) -> bool:
    """The reward: whether the bytes of the response sum to an odd number. Costs nothing."""
    return sum(text.encode()) % 2 == 1


@dataclass(frozen=True)
class Check:
    """The first step of a side. Responses come group by group, and so do their log-probs.

    Attributes:
        texts: the prompts as text, and `prompts` as tokens.
        responses: tokens of each response.
        order: places of the responses in the order in which mini-batches take them.
        logprobs: of each response's tokens before the first update, in nats.
        losses: one of each mini-batch.
    """

    texts: list[str]
    prompts: list[list[int]]
    responses: list[list[int]]
    order: list[int]
    logprobs: list[list[float]]
    losses: list[float]

    @classmethod
    def read(cls, path: Path) -> Check:
        """What `write` wrote."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(vars(self)))


class Answers:
    """A side's end of its pipes: what it prints otherwise goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def say(self, answer: Any) -> None:
        """Write one line of JSON."""
        print(json.dumps(answer), file=self._out, flush=True)

    def asked(self) -> bool:
        """Wait for a line; False when there is none any more."""
        return bool(sys.stdin.readline())


def serve(answers: Answers, step: Callable[[], dict[str, float]]) -> None:
    """Answer each line with the seconds of the phases of one step."""
    while answers.asked():
        answers.say(step())


def truncated(rows: Sequence[Sequence[Any]], lengths: Sequence[int]) -> list[list[Any]]:
    """The first tokens of each row."""
    return [list(row[:length]) for row, length in zip(rows, lengths, strict=True)]
