"""Tasks whose problems are drawn at random, tier by tier; what all of them share.

Whether a problem is held out depends on its own text (a hash), so train and test are disjoint by
construction, however many of either are drawn; a validation set leaves the test set's problems out.
"""

from __future__ import annotations

import hashlib
import random
from abc import abstractmethod
from collections.abc import Container
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field, field_validator, model_validator

from kpo.common.seeding import derive_seed
from kpo.tasks.task import TRAIN, Part, Task

HELD_OUT_SHARE = 0.1
"""Share of all problems that the hash reserves for testing."""

TierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Sizes = Annotated[tuple[int, int], Field(strict=False)]


class Drawn(Protocol):
    """A problem."""

    @property
    def text(self) -> str:
        """As the policy sees it."""

    @property
    def answer(self) -> int:
        """The gold."""

    def worked(self, rng: random.Random, slip: float) -> str:
        """A response; each line is wrong with probability `slip`, and the slip carries."""


class DrawnTask(Task):
    """The settings of every such task; a subclass says its tiers, draws and counts problems."""

    used_by: ClassVar[dict[str, frozenset[Part]]] = {
        "train": frozenset({"train"}),
        "test": frozenset({"test"}),
        "held_out": frozenset({"test"}),
        "seed": frozenset({"train", "test"}),
        "slip": frozenset({"sft"}),
    }
    sizes: ClassVar[tuple[int, int]]
    """Smallest and largest size of a problem that a tier may have."""

    tiers: dict[TierName, Sizes]
    train: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        4096, description="training problems, over all tiers"
    )
    test: Annotated[int, Field(ge=1, le=10_000)] = Field(
        50, description="held-out problems of each tier"
    )
    held_out: Literal["test", "validation"] = Field(
        "test", description="which held-out problems the tiers hold; no problem is both"
    )
    slip: Annotated[float, Field(ge=0, le=1)] = Field(
        0.18, description="probability that a line of a worked solution is wrong"
    )
    seed: int = 0

    @abstractmethod
    def draw(self, rng: random.Random, size: tuple[int, int]) -> Drawn:
        """Draw a problem of a size within these bounds."""

    @abstractmethod
    def existing(self, size: tuple[int, int]) -> int:
        """How many problems there are within these bounds."""

    @field_validator("tiers")
    @classmethod
    def _ranges(cls, tiers: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        least, most = cls.sizes
        for tier, (low, high) in tiers.items():
            if not least <= low <= high <= most:
                raise ValueError(
                    f"must have at each tier two sizes in {least}..{most}, the smaller first, not"
                    f" {tier}: [{low}, {high}]"
                )
        return tiers

    @model_validator(mode="after")
    def _possible(self) -> DrawnTask:
        """Draws are repeated until they differ, so at most half of what exists may be asked for."""
        there = {tier: self.existing(size) for tier, size in self.tiers.items()}
        sets = 1 if self.held_out == "test" else 2
        for tier, count in there.items():
            if self.test > (enough := count // (20 * sets)):  # half of the held-out share
                raise ValueError(f"test is {self.test}, but must be at most {enough} in {tier}")
        if self.train > (enough := max(there.values()) * 9 // 20):
            raise ValueError(f"train is {self.train}, but must be at most {enough} for these tiers")
        return self

    @property
    def tests(self) -> tuple[str, ...]:
        """The tiers."""
        return tuple(self.tiers)

    def size(self, name: str) -> int:
        """Problems of a set."""
        return self.train if name == TRAIN else self.test

    def problems(self, name: str) -> list[tuple[str, str]]:
        """Training problems, tiers mixed evenly, or held-out ones of the tier `name`."""
        found = self._distinct(name)
        if name != TRAIN and self.held_out == "validation":
            found = self._distinct(name, self.held_out, without=found)
        return list(found.items())

    def _distinct(self, name: str, *purpose: str, without: Container[str] = ()) -> dict[str, str]:
        """Golds by text, until as many differ as the set holds."""
        rng = random.Random(derive_seed(self.seed, self.kind.replace("_", " "), name, *purpose))
        tiers, held_out = (self.tests, False) if name == TRAIN else ((name,), True)
        golds: dict[str, str] = {}
        while len(golds) < self.size(name):
            tier = rng.choice(tiers) if len(tiers) > 1 else tiers[0]
            problem = self.drawn(rng, self.tiers[tier], held_out=held_out)
            if problem.text not in without:
                golds[problem.text] = str(problem.answer)
        return golds

    def worked(self, rng: random.Random, count: int) -> list[tuple[str, str]]:
        """Training problems with solutions in which lines slip.

        The slips leave probability on wrong lines, which is the room that RL then closes.
        """
        sizes = list(self.tiers.values())
        drawn = [self.drawn(rng, rng.choice(sizes), held_out=False) for _ in range(count)]
        return [(problem.text, problem.worked(rng, self.slip)) for problem in drawn]

    def drawn(self, rng: random.Random, size: tuple[int, int], *, held_out: bool) -> Drawn:
        """Draw a problem of a size within these bounds from one side of the split."""
        while True:
            problem = self.draw(rng, size)
            if is_held_out(problem.text) == held_out:
                return problem


def is_held_out(text: str) -> bool:
    """Whether a problem belongs to the test side."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32
