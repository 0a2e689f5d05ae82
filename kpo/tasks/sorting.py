"""Sorting by exchanges of neighbours, a line an exchange, and the sorted digits as the answer.

    problem     4172=?
    response    1472
                1427
                1247
                \\boxed{1247}

Digits are 1-9 and may repeat. Each line exchanges the first two neighbours that stand in the wrong
order, so a response has as many lines as there are inversions, about n (n - 1) / 4 of n digits: a
long answer to a short question, each step of it copied but for two digits.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from kpo.tasks.drawn import DrawnTask, Sizes, TierName

DIGITS = "123456789"


class Sorting(DrawnTask):
    """The task's settings and its problems."""

    sizes: ClassVar[tuple[int, int]] = (2, 16)

    kind: Literal["sorting"] = "sorting"
    tiers: dict[TierName, Sizes] = Field(
        {"short": (7, 7), "middle": (8, 8), "long": (9, 9)},
        min_length=1,
        description="smallest and largest number of digits of each tier",
    )

    @property
    def longest(self) -> int:
        """Characters of a problem with the most digits."""
        return max(high for _, high in self.tiers.values()) + len("=?")

    def draw(self, rng: random.Random, size: tuple[int, int]) -> Digits:
        """Digits drawn one by one."""
        return Digits("".join(rng.choices(DIGITS, k=rng.randint(*size))))

    def existing(self, size: tuple[int, int]) -> int:
        """All texts."""
        low, high = size
        return sum(len(DIGITS) ** length for length in range(low, high + 1))


@dataclass(frozen=True)
class Digits:
    """Digits to be sorted."""

    digits: str

    @property
    def text(self) -> str:
        """The problem as the policy sees it."""
        return f"{self.digits}=?"

    @property
    def answer(self) -> int:
        """The digits in order."""
        return int("".join(sorted(self.digits)))

    def worked(self, rng: random.Random, slip: float) -> str:
        """A response; each line has one digit that is off by one with probability `slip`."""
        row, lines = list(self.digits), []
        while wrong := [i for i in range(len(row) - 1) if row[i] > row[i + 1]]:
            i = wrong[0]
            row[i : i + 2] = row[i + 1], row[i]
            if rng.random() < slip:
                place = rng.randrange(len(row))
                row[place] = str(min(9, max(1, int(row[place]) + rng.choice((-1, 1)))))
            lines.append("".join(row))
        return "\n".join([*lines, f"\\boxed{{{''.join(row)}}}"])
