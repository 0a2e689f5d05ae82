"""Chained sums: running totals, one a line, and the answer boxed.

    problem     81-9+4-4+9-4=?
    response    81-9=72
                72+4=76
                ...
                \\boxed{77}

A problem starts with 10-99, adds or subtracts operands 2-9, and keeps every running total in 0..99.
Its tier follows from the number of terms. Whether a problem is held out depends on its own text
(a hash), so train and test are disjoint by construction, however many of either are drawn.

The command `python -m kpo.tasks.chained_sums` is another name of `kpo.tasks.generate`.
"""

from __future__ import annotations

import hashlib
import random
import runpy
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from kpo.common.seeding import derive_seed
from kpo.tasks.task import TRAIN, Part, Task

HELD_OUT_SHARE = 0.1
"""Share of all problems that the hash reserves for testing."""

TierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Lengths = Annotated[tuple[int, int], Field(strict=False)]


class ChainedSums(Task):
    """The task's settings and its problems."""

    used_by: ClassVar[dict[str, frozenset[Part]]] = {
        "train": frozenset({"train"}),
        "test": frozenset({"test"}),
        "seed": frozenset({"train", "test"}),
        "slip": frozenset({"sft"}),
    }

    kind: Literal["chained_sums"] = "chained_sums"
    tiers: dict[TierName, Lengths] = Field(
        {"easy": (3, 4), "medium": (5, 6), "hard": (7, 8)},
        min_length=1,
        description="smallest and largest number of terms of each tier",
    )
    train: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        4096, description="training problems, over all tiers"
    )
    test: Annotated[int, Field(ge=1, le=10_000)] = Field(
        50, description="held-out problems of each tier"
    )
    slip: Annotated[float, Field(ge=0, le=1)] = Field(
        0.18, description="probability that a line of a worked solution is wrong"
    )
    seed: int = 0

    @field_validator("tiers")
    @classmethod
    def _ranges(cls, value: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        for tier, (low, high) in value.items():
            if not 2 <= low <= high <= 200:
                raise ValueError(
                    "must have at each tier two numbers of terms in 2..200, the smaller first, not"
                    f" {tier}: [{low}, {high}]"
                )
        return value

    @model_validator(mode="after")
    def _enough(self) -> ChainedSums:
        """Draws are repeated until they differ, so at most half of what exists may be asked for."""
        there = {tier: _existing(*lengths) for tier, lengths in self.tiers.items()}
        for tier, count in there.items():
            if self.test > (most := count // 20):  # half of the held-out share
                raise ValueError(f"test is {self.test}, but must be at most {most} in {tier}")
        if self.train > (most := max(there.values()) * 9 // 20):
            raise ValueError(f"train is {self.train}, but must be at most {most} for these tiers")
        return self

    @property
    def tests(self) -> tuple[str, ...]:
        """The tiers."""
        return tuple(self.tiers)

    @property
    def longest(self) -> int:
        """Characters of a problem with the most terms."""
        return len("99=?") + 2 * (max(high for _, high in self.tiers.values()) - 1)

    def size(self, name: str) -> int:
        """Problems of a set."""
        return self.train if name == TRAIN else self.test

    def problems(self, name: str) -> list[tuple[str, str]]:
        """Training problems, tiers mixed evenly, or held-out ones of the tier `name`."""
        rng = random.Random(derive_seed(self.seed, "chained sums", name))
        tiers, held_out = (self.tests, False) if name == TRAIN else ((name,), True)
        golds: dict[str, str] = {}
        while len(golds) < self.size(name):  # until as many differ
            tier = rng.choice(tiers) if len(tiers) > 1 else tiers[0]
            problem = draw(rng, self.tiers[tier], held_out=held_out)
            golds[problem.text] = str(problem.answer)
        return list(golds.items())

    def worked(self, rng: random.Random, count: int) -> list[tuple[str, str]]:
        """Training problems with solutions in which lines slip.

        The slips leave probability on wrong lines, which is the room that RL then closes.
        """
        lengths = list(self.tiers.values())
        drawn = [draw(rng, rng.choice(lengths), held_out=False) for _ in range(count)]
        return [(problem.text, problem.worked(rng, self.slip)) for problem in drawn]


@dataclass(frozen=True)
class Sum:
    """A chained sum: its first term and the signed operands that follow."""

    start: int
    operands: tuple[int, ...]

    @property
    def text(self) -> str:
        """The problem as the policy sees it."""
        return f"{self.start}{''.join(f'{operand:+d}' for operand in self.operands)}=?"

    @property
    def answer(self) -> int:
        """The final total."""
        return self.start + sum(self.operands)

    @property
    def held_out(self) -> bool:
        """Whether the problem belongs to the test side; a function of its text alone."""
        digest = hashlib.sha256(self.text.encode()).digest()
        return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32

    def worked(self, rng: random.Random, slip: float) -> str:
        """A response; each line is off by 1 or 10 with probability `slip`, and the slip carries."""
        total, lines = self.start, []
        for operand in self.operands:
            result = total + operand
            if rng.random() < slip:
                result += rng.choice((-10, -1, 1, 10))
            lines.append(f"{total}{operand:+d}={result}")
            total = result
        return "\n".join([*lines, f"\\boxed{{{total}}}"])


def draw(rng: random.Random, lengths: tuple[int, int], *, held_out: bool) -> Sum:
    """Draw a problem with a number of terms in `lengths` from one side of the split."""
    while True:
        start = total = rng.randint(10, 99)
        operands = []
        for _ in range(rng.randint(*lengths) - 1):
            operands.append(rng.choice(_operands(total)))
            total += operands[-1]
        problem = Sum(start, tuple(operands))
        if problem.held_out == held_out:
            return problem


def _operands(total: int) -> list[int]:
    """What may follow a running total."""
    return [o for o in range(-9, 10) if abs(o) >= 2 and 0 <= total + o <= 99]


def _existing(low: int, high: int) -> int:
    """How many problems have `low` to `high` terms."""
    ways, count = [int(total >= 10) for total in range(100)], 0  # of coming to each running total
    for terms in range(2, high + 1):  # by an operand or, which is the same, by its opposite
        ways = [sum(ways[total + o] for o in _operands(total)) for total in range(100)]
        count += sum(ways) if terms >= low else 0
    return count


if __name__ == "__main__":
    runpy.run_module("kpo.tasks.generate", run_name="__main__")
