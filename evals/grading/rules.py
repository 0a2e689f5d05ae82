"""Rules that say whether an answer is the gold, by the names that `grading.rule` has for them.

    by_kind      ours: respelled, then read as one kind of thing after another (`judge`)
    math_verify  the library alone, with its defaults, on gold and answer as they are written

Which text of a response is its answer is the prompt protocol's business, under either rule alike.

Deviation: the paper's answers are compared by a rule-based checker that is not named more closely;
here golds and answers are respelled before math-verify sees them, which is told the kind of thing
that they are. Switch: `grading.rule`. Measured: `tiny/diagnostics.csv`: largest
`points_by_math_verify`.

The libraries are imported when a rule is first asked: only grading workers ever ask.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Callable

Rule = Callable[[str, str], bool]


def by_kind(gold: str, answer: str) -> bool:
    """`evals.grading.equivalence.judge`. Raises TooLargeError."""
    from kpo.evals.grading.equivalence import judge

    return judge(gold, answer)


def math_verify(gold: str, answer: str) -> bool:
    """math-verify's own verdict on both in a box; its time limits are the workers' business."""
    from math_verify import parse, verify

    boxed = [parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
    return bool(verify(*boxed, timeout_seconds=None))


RULES: dict[str, Rule] = {"by_kind": by_kind, "math_verify": math_verify}
DEFAULT = "by_kind"
