"""A problem with a verifiable answer, and the hash of many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem; `answer` is the gold in LaTeX, without its box."""

    id: str
    problem: str
    answer: str


class ContentHash:
    """`content_hash`, problem by problem."""

    def __init__(self) -> None:
        self._hash, self._comma = hashlib.sha256(b"["), ""

    def add(self, problem: Problem) -> None:
        """Take in the next problem."""
        pair = json.dumps([problem.problem, problem.answer], separators=(",", ":"))
        self._hash.update(f"{self._comma}{pair}".encode())
        self._comma = ","

    def hexdigest(self) -> str:
        """Of all problems so far."""
        whole = self._hash.copy()
        whole.update(b"]")
        return whole.hexdigest()


def content_hash(problems: Iterable[Problem]) -> str:
    """Hash of the problems' texts and answers, the same whatever they were loaded from."""
    content = ContentHash()
    for problem in problems:
        content.add(problem)
    return content.hexdigest()
