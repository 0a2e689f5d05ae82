"""Grading speed: the grader against a plain loop of math-verify, in one run.

    python -m tests.bench.bench_grade [--problems math500.jsonl] [--responses 10000]

Makes responses of about 4,000 characters, 20 to a problem with four distinct answers among them,
1 % of them bombs, grades them all with the grader (workers' start included) and prints how much
faster that was than `verify(parse(gold), parse(response))` one after the other. The plain loop is
timed on a random sample of the responses without bombs (it does not come back from some) and
scaled, after WARM_UP responses that are not timed.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from kpo.evals.grading.golds import NORMALISERS, normalise_gold
from kpo.evals.grading.grader import Grader
from kpo.evals.grading.respell import clean
from kpo.evals.grading.second_rule import agree

GOLDS = (
    r"\frac{14}{3}",
    r"3\sqrt{13}",
    r"\left( 3, \frac{\pi}{2} \right)",
    "p - q",
    "9",
    "2220",
    r"90^\circ",
    "6 - 5i",
    r"(3,4]",
    r"\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}",
    "x^5 - x^4 + x^3 - x^2 + x - 1",
    r"1 \pm \sqrt{19}",
    "10,080",
    r"(-\infty, 2) \cup (3, \infty)",
    r"\text{east}",
    "42",
)
BOMBS = (
    r"\boxed{9^{9^{9^{9}}}}",
    r"\boxed{" + "7" * 1_000_000 + "}",
    r"\boxed{" + "{" * 5_000,
    "}" * 5_000 + r"\boxed{" + "{" * 300 + "5" + "}" * 300 + "}",
    r"\boxed{" + r"\frac" * 200_000 + "}",
    "\x00" * 1_000 + r"\boxed{\x00}",
    "\ud800" * 1_000 + "\\boxed{\udfff}",
    "\U0001f600" * 1_000 + "\\boxed{\U0001f600}",
    r"\boxed{" * 500 + "-" + "}" * 500,
    "".join(rf"\boxed{{{n}{n}!}}" for n in range(50)),
    r"\boxed{((9!)!)!}",
    r"\boxed{" + "(" * 400 + "5" + ")" * 400 + "}",
)
FILLER = (
    r"We simplify $\frac{a+b}{2}$ and note that $x_{1} = 3$, so the sum is \(12 + 5 = 17\). ",
    "Therefore the next step follows from the previous one by substitution. ",
    r"\[ \int_0^1 x^2 \, dx = \frac{1}{3} \] Checking the cases one by one, none fails. ",
)
WARM_UP = 200


@dataclass(frozen=True)
class Item:
    """A response whose right grade is known; bombs are wrong."""

    gold: str
    response: str
    right: bool
    bomb: bool


def make_items(golds: Sequence[str], count: int, bomb_share: float, seed: int) -> list[Item]:
    """`count` responses, 20 to a gold, with up to four distinct answers each."""
    rng = random.Random(seed)
    items: list[Item] = []
    for number in range(-(-count // 20)):
        gold = golds[number % len(golds)]
        wrong = [
            other for other in rng.sample(golds, min(len(golds), 12)) if not agree(gold, other)
        ]
        for answer in rng.choices(
            [gold, *wrong[:3]], weights=[10, 5, 3, 2][: 1 + len(wrong[:3])], k=20
        ):
            items.append(Item(gold, _response(answer, rng), answer == gold, bomb=False))
    for index in rng.sample(range(count), round(count * bomb_share)):
        items[index] = Item(items[index].gold, rng.choice(BOMBS), right=False, bomb=True)
    return items[:count]


def _response(answer: str, rng: random.Random) -> str:
    text = "".join(rng.choice(FILLER) for _ in range(60))[:3950]
    return f"{text}\nThe final answer is $\\boxed{{{answer}}}$."


def plain_seconds(items: Sequence[Item]) -> float:
    """Seconds that the plain loop takes for one response, once the parser is warm."""
    from math_verify import parse, verify  # noqa: PLC0415 - the grader's parent never imports it

    logging.disable(logging.CRITICAL)
    for number, item in enumerate(tqdm(items, desc="plain loop", unit="response")):
        if number == WARM_UP:
            start = time.perf_counter()
        verify(parse(f"\\boxed{{{item.gold}}}"), parse(item.response))
    return (time.perf_counter() - start) / (len(items) - WARM_UP)


def main(argv: Sequence[str] | None = None) -> None:
    """Time both, print the ratio and what went wrong, if anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_grade", description=__doc__)
    parser.add_argument("--problems", type=Path, help="JSONL with an `answer` a line")
    parser.add_argument("--normaliser", choices=NORMALISERS, help="of the golds")
    parser.add_argument("--responses", type=int, default=10_000)
    parser.add_argument("--plain", type=int, default=800, help="responses for the plain loop")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout-s", type=float, default=5.0)
    options = parser.parse_args(argv)
    golds = list(GOLDS)
    if options.problems is not None:
        lines = options.problems.read_text(encoding="utf-8").splitlines()
        golds = [json.loads(line)["answer"] for line in lines]
    golds = [normalise_gold(options.normaliser, gold) for gold in golds]
    items = make_items(golds, options.responses, bomb_share=0.01, seed=1)
    start = time.perf_counter()
    with Grader(workers=options.workers, timeout_s=options.timeout_s) as grader:
        grades = grader.grade([(item.gold, item.response) for item in items])
    ours = time.perf_counter() - start
    tame = [item for item in items if not item.bomb]
    sample = random.Random(2).sample(tame, WARM_UP + options.plain)
    plain = plain_seconds(sample) * len(items)
    off = [(i, g) for i, g in zip(items, grades, strict=True) if i.right != g.correct]
    print(f"{len(items)} responses, {len(items) - len(tame)} bombs, {len(set(golds))} golds")
    print(
        f"grader, {options.workers} workers: {ours:.1f} s;",
        dict(Counter(g.status for g in grades)),
    )
    print(f"plain loop: {plain:.1f} s (scaled from {options.plain} responses without bombs)")
    print(f"ratio {plain / ours:.1f}; {len(off)} not graded as constructed")
    for item, grade in off[:10]:
        print(f"  gold {clean(item.gold)!r}, {grade}")


if __name__ == "__main__":
    main()
