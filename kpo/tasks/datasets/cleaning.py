"""Training rows that would spoil a run: repeated, contradictory, without a usable gold, or of a
benchmark.

One pass over the rows keeps the distinct problems and the ids of the others, so that a set whose
rows repeat a hundred times takes the memory of its problems.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evals.grading.grader import Grader
from kpo.tasks.datasets.problem import Problem
from kpo.tasks.datasets.reading import DataError
from kpo.tasks.datasets.similarity import Match, Overlap, normalised

REASONS = {
    "duplicates": "repeat an earlier row",
    "contradictions": "have one problem and different golds",
    "unusable_golds": "have a gold that no answer can be equal to",
    "contamination": "hold a problem of a benchmark",
    "overlong": "make a prompt of more than train.max_prompt_tokens",
}
"""What is said of rows, by the key of the data section that says what becomes of them."""


@dataclass(frozen=True)
class Drop:
    """Rows that are left out for one of REASONS, and what is wrong with them."""

    reason: str
    ids: list[str]
    details: dict[str, Any]

    def row(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"reason": self.reason, "ids": self.ids, **self.details}


@dataclass(slots=True)
class _Group:
    """A problem, the ids of the rows that repeat it, their other golds, and its benchmark."""

    first: Problem
    match: Match | None
    repeats: list[str] = field(default_factory=list)
    other_golds: dict[str, None] = field(default_factory=dict)


def handle(where: str, handling: str, drops: list[Drop]) -> list[Drop]:
    """The drops, of one reason, or DataError where such rows are handled by `refuse`."""
    if drops and handling == "refuse":
        first = drops[0]
        count = sum(len(drop.ids) for drop in drops)
        details = ", ".join(f"{key} {value!r:.80}" for key, value in first.details.items())
        raise DataError(
            f"{where}: {count:,} rows {REASONS[first.reason]}; the first is {first.ids[0]}"
            f" ({details}); data.{first.reason}: drop would leave them out"
        )
    return drops


def count(drops: Iterable[Drop]) -> dict[str, int]:
    """Rows that were left out, by reason."""
    counts: Counter[str] = Counter()
    for drop in drops:
        counts[drop.reason] += len(drop.ids)
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def clean(
    where: str,
    problems: Iterable[Problem],
    handling: Mapping[str, str],
    grader: Grader,
    overlap: Overlap | None,
) -> tuple[list[Problem], list[Drop]]:
    """The problems to train on, and the rows left out.

    The first of equal rows stays. `handling` says of every reason but `overlong` whether such rows
    are left out or refused, by DataError.
    """
    groups = _gather(problems, overlap)
    contradictory = _contradictory(groups, grader)
    drops = handle(where, handling["contradictions"], [drop for _, drop in contradictory])
    out = {id(group) for group, _ in contradictory}
    groups = [group for group in groups if id(group) not in out]
    drops += handle(
        where,
        handling["duplicates"],
        [
            Drop("duplicates", group.repeats, {"of": group.first.id})
            for group in groups
            if group.repeats
        ],
    )
    complaints = _complaints(groups, grader)
    drops += handle(
        where,
        handling["unusable_golds"],
        [
            Drop("unusable_golds", [p.id], {"gold": p.answer, "complaint": complaints[p.answer]})
            for p in (group.first for group in groups)
            if p.answer in complaints
        ],
    )
    groups = [group for group in groups if group.first.answer not in complaints]
    found = [_contaminated(group.first, group.match) for group in groups if group.match]
    drops += handle(where, handling["contamination"], found)
    return [group.first for group in groups if group.match is None], drops


def _gather(problems: Iterable[Problem], overlap: Overlap | None) -> list[_Group]:
    by_text: dict[str, _Group] = {}  # most repeated rows repeat to the letter
    by_meaning: dict[bytes, _Group] = {}
    for problem in problems:
        group = by_text.get(problem.problem)
        if group is None:
            plain = normalised(problem.problem)
            key = hashlib.blake2b(plain.encode(), digest_size=16).digest()
            group = by_meaning.get(key)
            if group is None:
                match = overlap.find(plain) if overlap is not None else None
                group = _Group(problem, match)
                by_text[problem.problem] = by_meaning[key] = group
                continue
            by_text[problem.problem] = group
        group.repeats.append(problem.id)
        if problem.answer != group.first.answer:
            group.other_golds[problem.answer] = None
    return list(by_meaning.values())


def _contradictory(groups: list[_Group], grader: Grader) -> list[tuple[_Group, Drop]]:
    """The groups whose golds are not all equal to the first, as the grader sees it."""
    pairs = [(group, gold) for group in groups for gold in group.other_golds]
    grades = grader.grade([(group.first.answer, f"\\boxed{{{gold}}}") for group, gold in pairs])
    found: dict[int, tuple[_Group, Drop]] = {}
    for (group, _), grade in zip(pairs, grades, strict=True):
        if not grade.correct and id(group) not in found:
            golds = [group.first.answer, *group.other_golds]
            ids = [group.first.id, *group.repeats]
            found[id(group)] = group, Drop("contradictions", ids, {"golds": golds})
    return list(found.values())


def _complaints(groups: list[_Group], grader: Grader) -> dict[str, str]:
    """What is wrong with golds, each looked at once."""
    distinct = dict.fromkeys(group.first.answer for group in groups)
    unusable = grader.unusable_golds((gold, gold) for gold in distinct)
    return {gold: complaint for _, gold, complaint in unusable}


def _contaminated(problem: Problem, match: Match) -> Drop:
    details = {"benchmark": match.benchmark, "problem": match.problem, "share": match.share}
    return Drop("contamination", [problem.id], details)
