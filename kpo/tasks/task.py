"""What a task is: problems that are made where they are needed, and how responses are graded.

A task is a frozen pydantic model: its fields are the settings that the `task` section of an
experiment file may have. Adding one: one file with such a class, one line in `kpo.tasks.registry`.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from kpo.common.cli import UserError
from kpo.common.source_code import code_hash
from kpo.evals.grading.grader import Grade, Grader

TRAIN = "train"
"""Name of the set of training problems."""

Part = Literal["train", "test", "sft", "grade"]
"""What is made of a task: its training set, its test sets, worked solutions, grades."""


class Task(BaseModel, ABC):
    """Problems by set, their longest text, the grades of responses; maybe worked solutions.

    Attributes:
        kind: what experiment files call the task; a subclass gives it its only value.
        used_by: the parts that a setting matters to; one that is not named matters to all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    used_by: ClassVar[Mapping[str, frozenset[Part]]] = {}

    kind: str

    @property
    @abstractmethod
    def tests(self) -> tuple[str, ...]:
        """Names of the sets of held-out problems, the benchmarks of the task."""

    @property
    @abstractmethod
    def longest(self) -> int:
        """Characters of the longest problem of any set."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Problems of a set, TRAIN or one of `tests`."""

    @abstractmethod
    def problems(self, name: str) -> Iterable[tuple[str, str]]:
        """The (text, gold) of a set's `size(name)` problems, the same whenever it is asked.

        Texts are distinct, and none of TRAIN is one of a test set.
        """

    def worked(self, rng: random.Random, count: int) -> list[tuple[str, str]]:
        """The (text, response) of `count` training problems, which a policy from scratch learns."""
        raise NotImplementedError(f"task {self.kind} has no worked solutions")

    def grade(self, pairs: Sequence[tuple[str, str]], grader: Grader) -> list[Grade]:
        """Grades of (gold, response) pairs, in order: in training a correct one is the reward.

        Evaluation and tables take the same grade, with golds as `problems` gave them. Here `grader`
        decides, math-verify under the rule of the experiment's grading section.
        """
        return grader.grade(pairs)

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of all sets."""
        return (TRAIN, *self.tests)

    def has_own(self, method: Literal["worked", "grade"]) -> bool:
        """Whether the task brings `worked`, or a `grade` other than the grader's."""
        return getattr(type(self), method) is not getattr(Task, method)

    def section(self, part: Part) -> dict[str, Any]:
        """The settings and the hash of the code that a part of the task depends on."""
        dump = self.model_dump(mode="json")
        used = {k: v for k, v in dump.items() if part in self.used_by.get(k, {part})}
        return {**used, "code": code_hash(type(self).__module__, without={Grader.__module__})}


def grades(task: Task | None, pairs: Sequence[tuple[str, str]], grader: Grader) -> list[Grade]:
    """`Task.grade`, or where problems are of no task, what the grader says.

    Raises UserError where the task does not give each pair its grade.
    """
    if task is None:
        return grader.grade(pairs)
    if (given := len(found := task.grade(pairs, grader))) != len(pairs):
        raise UserError(f"task {task.kind}: grade gave {given} grades for {len(pairs)} responses")
    return found
