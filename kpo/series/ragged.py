"""Numbers of responses of different lengths in a row, and what they would be by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Item = TypeVar("Item")

PORTION = 1 << 17
"""Tokens of a portion, padding included."""


@dataclass(frozen=True)
class Ragged:
    """N responses, each of at least one token.

    Attributes:
        values: of all M tokens, response by response [M].
        lengths: tokens of each response [N].
    """

    values: Floats
    lengths: Integers

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.lengths.sum() != len(self.values):
            raise ValueError(
                f"{len(self.lengths)} responses have {self.lengths.sum()} tokens, but the values"
                f" are {list(self.values.shape)}"
            )
        if (self.lengths < 1).any():
            raise ValueError("a response has no token")

    @classmethod
    def of(cls, responses: Sequence[Floats]) -> Ragged:
        """From the values of each."""
        values = np.concatenate([np.zeros(0), *responses])
        return cls(values, np.array([len(one) for one in responses], dtype=np.int64))

    @property
    def starts(self) -> Integers:
        """Place of each response's first token [N]."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def owners(self) -> Integers:
        """The response that each token belongs to [M]."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def means(self) -> Floats:
        """Mean of each response [N]."""
        return np.asarray(np.add.reduceat(self.values, self.starts) / self.lengths)

    def padded(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Values [N, T], 0 behind the end, and where they are."""
        mask = np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]
        out = np.zeros(mask.shape)
        out[mask] = self.values
        return out, mask


def shuffled(z: Ragged, rng: np.random.Generator) -> Ragged:
    """The tokens of each response in random order: the same mean and spread, no structure."""
    order = np.lexsort((rng.random(len(z.values)), z.owners))
    return Ragged(z.values[order], z.lengths)


def random_signs(z: Ragged, rng: np.random.Generator) -> Ragged:
    """Sizes in random order, with signs drawn one by one: as many positive ones, no structure.

    Responses have no means of their own either.
    """
    share = float(np.mean(z.values[z.values != 0] > 0)) if z.values.any() else 0.5
    signs = np.where(rng.random(len(z.values)) < share, 1.0, -1.0)
    return Ragged(signs * np.abs(shuffled(z, rng).values), z.lengths)


@dataclass
class Portions(Generic[Item]):
    """Cuts what comes one response after the other into portions that fit into memory.

    Where it cuts depends only on their lengths, not on how many come at once.
    """

    waiting: list[Item] = field(default_factory=list)
    longest: int = 0

    def add(self, item: Item, length: int) -> list[Item]:
        """Take one of `length` tokens; gives the portion that was full without it, else nothing."""
        longest = max(self.longest, length)
        full = self.take() if (len(self.waiting) + 1) * longest > PORTION else []
        self.waiting.append(item)
        self.longest = max(self.longest, length)
        return full

    def take(self) -> list[Item]:
        """What waits, and nothing waits any more."""
        portion, self.waiting, self.longest = self.waiting, [], 0
        return portion
