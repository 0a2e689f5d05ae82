"""The embedded task: chained sums with running totals, the answer boxed.

    problem     81-9+4-4+9-4=?
    response    81-9=72
                72+4=76
                ...
                \\boxed{77}

A problem starts with 10-99, adds or subtracts operands 2-9, and keeps every running total in 0..99.
Its tier follows from the number of terms. Whether a problem is held out depends on its own text
(a hash), so train and test are disjoint by construction, however many of either are drawn.

Command line: writes train.jsonl and one <tier>.jsonl per tier, or some of them, with the keys id,
problem, answer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kpo.common.cli import command
from kpo.common.files import write_text
from kpo.common.seeding import derive_seed

if TYPE_CHECKING:
    from kpo.config.experiment import ChainedSums

TIERS: dict[str, tuple[int, int]] = {"easy": (3, 4), "medium": (5, 6), "hard": (7, 8)}
"""Smallest and largest number of terms of each tier."""

LONGEST_TEXT = len("99=?") + 2 * (max(high for _, high in TIERS.values()) - 1)
"""Characters of the longest problem."""

SETS = ("train", *TIERS)
"""The training problems, and the held-out problems of each tier."""

HELD_OUT_SHARE = 0.1
"""Share of all problems that the hash reserves for testing."""


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


def draw(rng: random.Random, tier: str, *, held_out: bool) -> Sum:
    """Draw a problem of a tier from one side of the split."""
    low, high = TIERS[tier]
    while True:
        start = total = rng.randint(10, 99)
        operands = []
        for _ in range(rng.randint(low, high) - 1):
            allowed = [o for o in range(-9, 10) if abs(o) >= 2 and 0 <= total + o <= 99]
            operands.append(rng.choice(allowed))
            total += operands[-1]
        problem = Sum(start, tuple(operands))
        if problem.held_out == held_out:
            return problem


def draw_distinct(count: int, pick: Callable[[], Sum]) -> list[Sum]:
    """Draw until there are `count` different problems."""
    found: dict[str, Sum] = {}
    while len(found) < count:
        problem = pick()
        found.setdefault(problem.text, problem)
    return list(found.values())


def write_problems(settings: ChainedSums, out: Path, sets: Iterable[str] = SETS) -> None:
    """Write <set>.jsonl of each set into `out`: train (tiers mixed evenly) or the tests of a tier.

    Each file depends on its own set's settings alone.
    """
    texts = {}
    for name in sets:
        rng = random.Random(derive_seed(settings.seed, "chained sums", name))
        tiers, held_out = (list(TIERS), False) if name == "train" else ([name], True)
        pick = partial(_draw_from, rng, tiers, held_out)
        problems = draw_distinct(settings.test if held_out else settings.train, pick)
        rows = (
            {"id": f"{name}/{i}", "problem": p.text, "answer": str(p.answer)}
            for i, p in enumerate(problems)
        )
        texts[name] = "".join(json.dumps(row) + "\n" for row in rows)
    for name, text in texts.items():
        write_text(out / f"{name}.jsonl", text)


def _draw_from(rng: random.Random, tiers: list[str], held_out: bool) -> Sum:
    tier = rng.choice(tiers) if len(tiers) > 1 else tiers[0]
    return draw(rng, tier, held_out=held_out)


@command
def main() -> None:
    """Command line."""
    from kpo.config.cli import experiment_argument  # noqa: PLC0415
    from kpo.config.experiment import load_experiment  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="python -m kpo.tasks.chained_sums",
        description="Write the embedded task's problems, train.jsonl and one file a tier.",
    )
    experiment_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="default: all")
    args = parser.parse_args()
    experiment = load_experiment(args.config)
    if experiment.task is None:
        parser.error(f"{args.config} has no task section")
    write_problems(experiment.task, args.out, args.sets)


if __name__ == "__main__":
    main()
