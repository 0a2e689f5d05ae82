"""Training rows that would spoil a run: repeated, contradictory, without a usable gold, or of a
benchmark.

Deviation: the paper trains on the set as it is; here rows that repeat or contradict others, that
have no usable gold, that are too long or that hold a benchmark's problem are left out. Switch:
`data.duplicates`, `data.contradictions`, `data.unusable_golds`, `data.contamination`,
`data.overlong`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from kpo.evals.grading.grader import Grader
from kpo.tasks.datasets.columns import Problem
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


@dataclass(slots=True, eq=False)
class _Group:
    """A problem, the ids of all rows that have it, their golds in order, and its benchmark."""

    problem: Problem
    match: Match | None
    ids: list[str] = field(default_factory=list)
    golds: dict[str, None] = field(default_factory=dict)


def refuse(where: str, handling: str, drops: list[Drop]) -> None:
    """Raise DataError for drops, of one reason, if such rows are handled by `refuse`."""
    if drops and handling == "refuse":
        first, rows = drops[0], sum(len(drop.ids) for drop in drops)
        details = ", ".join(f"{key} {value!r:.80}" for key, value in first.details.items())
        raise DataError(
            f"{where}: {rows:,} rows {REASONS[first.reason]}; the first is {first.ids[0]}"
            f" ({details}); data.{first.reason}: drop would leave them out"
        )


def count(drops: Iterable[Drop]) -> dict[str, int]:
    """Rows that were left out, by reason."""
    counts = Counter(drop.reason for drop in drops for _ in drop.ids)
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
    torn = _contradictory(groups, grader)
    drops = [Drop("contradictions", group.ids, {"golds": list(group.golds)}) for group in torn]
    refuse(where, handling["contradictions"], drops)
    groups = [group for group in groups if group not in torn]

    repeats = [Drop("duplicates", g.ids[1:], {"of": g.problem.id}) for g in groups if g.ids[1:]]
    refuse(where, handling["duplicates"], repeats)

    golds = dict.fromkeys(group.problem.answer for group in groups)  # each is looked at once
    found = grader.unusable_golds((gold, gold) for gold in golds)
    bad = {gold: {"gold": gold, "complaint": complaint} for _, gold, complaint in found}
    of_bad = [group.problem for group in groups if group.problem.answer in bad]
    unusable = [Drop("unusable_golds", [p.id], bad[p.answer]) for p in of_bad]
    refuse(where, handling["unusable_golds"], unusable)
    groups = [group for group in groups if group.problem.answer not in bad]

    held = [Drop("contamination", [g.problem.id], asdict(g.match)) for g in groups if g.match]
    refuse(where, handling["contamination"], held)
    kept = [group.problem for group in groups if not group.match]
    return kept, [*drops, *repeats, *unusable, *held]


def _gather(problems: Iterable[Problem], overlap: Overlap | None) -> list[_Group]:
    """The distinct problems, in order; of rows that repeat one, the ids alone are kept."""
    plain_text = cache(normalised)  # most repeated rows repeat to the letter
    groups: dict[str, _Group] = {}
    for problem in problems:
        plain = plain_text(problem.problem)
        if plain not in groups:
            groups[plain] = _Group(problem, overlap.find(plain) if overlap else None)
        groups[plain].ids.append(problem.id)
        groups[plain].golds[problem.answer] = None
    return list(groups.values())


def _contradictory(groups: list[_Group], grader: Grader) -> dict[_Group, None]:
    """The groups whose golds are not all equal to the first, as the grader sees it."""
    pairs = [(group, gold) for group in groups for gold in list(group.golds)[1:]]
    grades = grader.grade([(group.problem.answer, f"\\boxed{{{gold}}}") for group, gold in pairs])
    wrong = zip(pairs, grades, strict=True)
    return dict.fromkeys(group for (group, _), grade in wrong if not grade.correct)
