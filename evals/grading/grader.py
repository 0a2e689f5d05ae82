"""Grade answers: each response's answer beside its gold, in processes that can be killed.

What counts as the answer is what the prompt protocol's rule finds, one of
`evals.grading.extract.EXTRACTORS`. Whether it is the gold is said by one of
`evals.grading.rules.RULES`. `evals.grading.statuses` says how a grade can come about.

A comparison is made once for all responses with the same gold and the same answer; whole numbers
and fractions are compared without a worker, and no worker starts before one is needed. What can be
slow is a distinct answer that runs to its deadline: n of those take n * timeout_s / workers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction

from kpo.common.cli import UserError
from kpo.evals.grading.brackets import nesting
from kpo.evals.grading.extract import EXTRACTORS
from kpo.evals.grading.pool import Reply, Request, WorkerPool
from kpo.evals.grading.respell import clean
from kpo.evals.grading.rules import DEFAULT, RULES
from kpo.evals.grading.statuses import Status

# The longest gold of the six benchmarks has 210 characters and nests 5 deep. Longer boxes hold
# essays or digits by the thousand (Python itself refuses to read an integer of more than 4,300),
# deeper ones brackets for their own sake: parsing them costs seconds (20 braces: more than 10 s)
# and cannot end in a right answer.
MAX_ANSWER_CHARS = 1000
MAX_ANSWER_DEPTH = 16
# Spellings of numbers whose exact values decide as math-verify does; all others go to a worker.
_WHOLE = re.compile("[+-]?[0-9]{1,99}")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{([+-]?[0-9]{1,99})\}\{([1-9][0-9]{0,98})\}")


@dataclass(frozen=True)
class Grade:
    """`extracted` is the answer's text (its first MAX_ANSWER_CHARS), None without one.

    differs: the other rules that were asked and say the opposite.
    """

    correct: bool
    status: Status
    extracted: str | None
    differs: tuple[str, ...] = ()


class Grader(AbstractContextManager["Grader"]):
    """Grades calls after calls with one set of workers, for one thread; a context manager.

    timeout_s: wall-clock seconds that one comparison may take.
    memory_mb: address space of a worker, MiB (math-verify itself takes 75).
    answers: a key of EXTRACTORS.
    rule: a key of RULES; all others are asked too, for `Grade.differs`, if `beside`.
    ready: workers that start at once and are kept ready between calls.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        timeout_s: float = 5.0,
        memory_mb: int = 2048,
        answers: str = "boxed",
        rule: str = DEFAULT,
        beside: bool = False,
        ready: int = 0,
    ) -> None:
        if rule not in RULES:
            raise UserError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
        self.rule, self._others = rule, [name for name in RULES if beside and name != rule]
        self._extract = EXTRACTORS[answers]
        self._pool = WorkerPool(
            workers=workers, timeout_s=timeout_s, memory_mb=memory_mb, ready=ready
        )

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def grade(
        self, pairs: Sequence[tuple[str, str]], on_done: Callable[[int], None] | None = None
    ) -> list[Grade]:
        """Grade (gold, response) pairs, in order; golds are LaTeX without the box.

        `on_done(n)` is called whenever n more pairs are graded. Raises TypeError, before any
        work, naming the index of a pair that is not two strings.
        """
        _check_types(pairs)
        grades: dict[int, Grade] = {}
        texts: dict[int, tuple[str, str]] = {}  # that a worker is asked about
        for index, (gold, response) in enumerate(pairs):
            answer = self._extract(response)
            if known := _without_worker(gold.strip(), answer):
                grades[index] = known
            else:
                texts[index] = gold.strip(), answer or ""
        if on_done is not None and grades:
            on_done(len(grades))
        replies = self._ask(self.rule, texts, on_done)
        told = {index: texts[index] for index, reply in replies.items() if reply.status == "ok"}
        others = {rule: self._ask(rule, told) for rule in self._others}
        for index, (status, correct, _) in replies.items():
            differs = (r for r in others if index in told and others[r][index].correct != correct)
            grades[index] = Grade(correct, status, texts[index][1], tuple(differs))
        return [grades[index] for index in range(len(pairs))]

    def _ask(
        self,
        rule: str,
        texts: Mapping[int, tuple[str, str]],
        on_done: Callable[[int], None] | None = None,
    ) -> dict[int, Reply]:
        """The rule's reply to every (gold, answer), each asked for once."""
        waiting: dict[Request, list[int]] = {}
        for index, pair in texts.items():
            gold, answer = map(clean, pair) if rule == DEFAULT else pair
            waiting.setdefault(Request(gold, answer, rule), []).append(index)
            self._pool.warm_up(len(waiting))
        asked = list(waiting.values())
        replies = self._pool.run(
            list(waiting), None if on_done is None else lambda job: on_done(len(asked[job]))
        )
        return {i: reply for reply, who in zip(replies, asked, strict=True) for i in who}

    def unusable_golds(self, golds: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """(id, gold, complaint) of every (id, gold) that cannot be graded against.

        A gold must parse to a mathematical object, and be equal to itself, within the limits.
        """
        rows = [(name, gold, clean(gold)) for name, gold in golds]
        complaints: dict[str, str] = {}
        asked: dict[str, Request] = {}
        for _, _, text in rows:
            if _too_long(text):
                complaints[text] = "is too long or nests too deep"
            elif _number(text) is None:
                asked[text] = Request(text, None)
        for text, reply in zip(asked, self._pool.run(list(asked.values())), strict=True):
            if reply.status != "ok":
                why = f"{reply.status}, {reply.reason}"
                complaints[text] = f"cannot be compared with itself: {why}"
            elif not reply.correct:
                complaints[text] = "does not parse or is not equal to itself"
        return [(name, gold, complaints[text]) for name, gold, text in rows if text in complaints]


def grade(
    pairs: Sequence[tuple[str, str]],
    *,
    workers: int = 2,
    timeout_s: float = 5.0,
    memory_mb: int = 2048,
) -> list[Grade]:
    """Grade (gold, response) pairs, in order, with workers of this call's own."""
    with Grader(workers=workers, timeout_s=timeout_s, memory_mb=memory_mb) as grader:
        return grader.grade(pairs)


def check_golds(golds: Iterable[tuple[str, str]], *, workers: int = 2) -> None:
    """Raise UserError, naming the first few (id, gold) of `Grader.unusable_golds`."""
    with Grader(workers=workers, timeout_s=20.0) as grader:
        bad = grader.unusable_golds(golds)
    if bad:
        named = "; ".join(f"{name}: {gold!r} {complaint}" for name, gold, complaint in bad[:5])
        more = f" (and {len(bad) - 5} more)" if len(bad) > 5 else ""
        raise UserError(f"unusable gold answers: {named}{more}")


def _check_types(pairs: Sequence[tuple[str, str]]) -> None:
    for index, (gold, response) in enumerate(pairs):
        for name, value in (("gold", gold), ("response", response)):
            if not isinstance(value, str):
                raise TypeError(f"pair {index}: the {name} is {type(value).__name__}, not text")


def _without_worker(gold: str, extracted: str | None) -> Grade | None:
    """The grade where no mathematics is needed and all rules agree, else None."""
    if not extracted:
        return Grade(False, "no_answer", extracted)
    if _too_long(gold) or _too_long(extracted):
        return Grade(False, "error", extracted[:MAX_ANSWER_CHARS])
    values = _number(gold), _number(extracted)
    return None if None in values else Grade(values[0] == values[1], "ok", extracted)


def _number(text: str) -> Fraction | int | None:
    """Exact value of a whole number or a fraction of two, None for everything else."""
    if _WHOLE.fullmatch(text):
        return int(text)
    found = _FRACTION.fullmatch(text)
    return found and int(f"{found[1]}1") * Fraction(int(found[2]), int(found[3]))


def _too_long(text: str) -> bool:
    return len(text) > MAX_ANSWER_CHARS or nesting(text) > MAX_ANSWER_DEPTH
