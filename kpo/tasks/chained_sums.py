"""Chained sums: running totals, one a line, and the answer boxed.

    problem     81-9+4-4+9-4=?
    response    81-9=72
                72+4=76
                ...
                \\boxed{77}

A problem starts with 10-99, adds or subtracts operands 2-9, and keeps every running total in 0..99.
Its tier follows from the number of terms.

The command `python -m kpo.tasks.chained_sums` is another name of `kpo.tasks.generate`.
"""

from __future__ import annotations

import random
import runpy
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from pydantic import Field

from kpo.tasks.drawn import DrawnTask, Sizes, TierName


class ChainedSums(DrawnTask):
    """The task's settings and its problems."""

    sizes: ClassVar[tuple[int, int]] = (2, 200)

    kind: Literal["chained_sums"] = "chained_sums"
    tiers: dict[TierName, Sizes] = Field(
        {"easy": (3, 4), "medium": (5, 6), "hard": (7, 8)},
        min_length=1,
        description="smallest and largest number of terms of each tier",
    )

    @property
    def longest(self) -> int:
        """Characters of a problem with the most terms."""
        return len("99=?") + 2 * (max(high for _, high in self.tiers.values()) - 1)

    def draw(self, rng: random.Random, size: tuple[int, int]) -> Sum:
        """Terms one after the other, each such that the total stays in bounds."""
        start = total = rng.randint(10, 99)
        operands = []
        for _ in range(rng.randint(*size) - 1):
            operands.append(rng.choice(_operands(total)))
            total += operands[-1]
        return Sum(start, tuple(operands))

    def existing(self, size: tuple[int, int]) -> int:
        """Ways of coming to each total, term after term."""
        low, high = size
        ways, count = [int(total >= 10) for total in range(100)], 0
        for terms in range(2, high + 1):  # by an operand or, which is the same, by its opposite
            ways = [sum(ways[total + o] for o in _operands(total)) for total in range(100)]
            count += sum(ways) if terms >= low else 0
        return count


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


@cache
def _operands(total: int) -> tuple[int, ...]:
    """What may follow a running total."""
    return tuple(o for o in range(-9, 10) if abs(o) >= 2 and 0 <= total + o <= 99)


if __name__ == "__main__":
    runpy.run_module("kpo.tasks.generate", run_name="__main__")
