"""The first reading of a dump: how many rows, which steps, and advantages out of rewards.

Of a row little is read and at most a few numbers are kept, so that the second reading can stream.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from kpo.advantage import group_advantages
from kpo.diagnosis.cells import fault, is_list, number, numbers, token_mask
from kpo.diagnosis.columns import Columns
from kpo.diagnosis.reading import Dump
from kpo.series.places import USES, stage_of
from kpo.series.ragged import Floats

ANY = "all"
"""The stage or the use, where a dump does not say."""

Cells = Mapping[str, Any]


@dataclass(frozen=True)
class Survey:
    """What is known of a dump once it has been read through.

    Attributes:
        rows: responses; None where there was nothing to read through for.
        steps: the first and the last; None where no column says.
        advantages: of each row, divided by the group's standard deviation and not [rows, 2]; None
            where the dump holds its own.
    """

    rows: int | None
    steps: tuple[int, int] | None
    advantages: Floats | None

    def stage(self, step: int | None) -> str:
        """The third of the training that a step lies in."""
        if self.steps is None or step is None:
            return ANY
        first, last = self.steps
        return stage_of(step - first, last - first + 1)


def survey(dump: Dump, columns: Columns) -> Survey:
    """Read a dump through. Raises RolloutError for bad steps, uses, rewards or groups."""
    rewards = None if columns["advantage"] else _Rewards(columns)
    wanted = columns.of(["step", "use", *(["group", "reward", "mask"] if rewards else [])])
    if not wanted:
        return Survey(None, None, None)
    rows, steps = 0, set[int]()
    for where, cells in dump.rows(wanted):
        rows += 1
        use_of(where, columns, cells)
        step = step_of(where, columns, cells)
        if step is not None:
            steps.add(step)
        if rewards is not None:
            rewards.add(where, cells)
    ends = (min(steps), max(steps)) if steps else None
    return Survey(rows, ends, None if rewards is None else rewards.advantages())


def use_of(where: str, columns: Columns, cells: Cells) -> str:
    """Whether an update was made on a response before, as far as the dump says."""
    if (name := columns["use"]) is None:
        return ANY
    value = cells[name]
    if isinstance(value, str) and value in USES:
        return value
    if isinstance(value, int | float) and value >= 0:
        return USES[value > 0]
    wanted = f"{' or '.join(USES)}, or the number of passes made over the response before"
    raise fault(where, name, f"holds {value!r:.40}", f"{wanted}, 0 for its first use")


def step_of(where: str, columns: Columns, cells: Cells) -> int | None:
    """The step of a row; None where no column says."""
    if (name := columns["step"]) is None:
        return None
    step = number(where, name, cells[name])
    if step != int(step):
        raise fault(where, name, f"holds {step}", "a whole number")
    return int(step)


@dataclass
class _Rewards:
    """Rewards of all rows, and which rows are a group: those to one prompt in one step and pass."""

    columns: Columns
    rewards: list[float] = field(default_factory=list)
    groups: dict[Hashable, list[int]] = field(default_factory=lambda: defaultdict(list))
    firsts: dict[Hashable, str] = field(default_factory=dict)

    def add(self, where: str, cells: Cells) -> None:
        """Add a row."""
        parts = [cells[name] for name in self.columns.of(["step", "use", "group"])]
        key = tuple(repr(list(part)) if is_list(part) else repr(part) for part in parts)
        self.firsts.setdefault(key, where)
        self.groups[key].append(len(self.rewards))
        self.rewards.append(self._reward(where, cells))

    def _reward(self, where: str, cells: Cells) -> float:
        """The reward of a response; of rewards of its tokens the sum."""
        name = self.columns["reward"]
        assert name is not None
        if not is_list(cells[name]):
            return number(where, name, cells[name])
        values = numbers(where, name, cells[name])
        mask = token_mask(where, self.columns["mask"], cells, len(values))
        return number(where, name, float(values[mask].sum()))

    def advantages(self) -> Floats:
        """Of each row, divided by the standard deviation and not. A group of one is refused."""
        made = np.zeros((len(self.rewards), 2))
        by_size: dict[int, list[list[int]]] = defaultdict(list)
        for key, rows in self.groups.items():
            if len(rows) < 2:
                name = self.columns["group"]
                assert name is not None
                found = "is this value's only one in its step and pass"
                wanted = "at least two responses a group, or a column of advantages"
                raise fault(self.firsts[key], name, found, wanted)
            by_size[len(rows)].append(rows)
        rewards = torch.tensor(self.rewards)
        for places in map(torch.tensor, by_size.values()):
            for i, divided in enumerate((True, False)):
                own = group_advantages(rewards[places], divide_by_std=divided)
                made[places.numpy(), i] = own.numpy()
        return made
