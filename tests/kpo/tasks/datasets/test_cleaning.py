"""What is left out of a training set, why, and what is counted."""

from collections.abc import Iterator
from typing import Any

import pytest

from kpo.config.data import Data
from kpo.evals.grading.grader import Grader
from kpo.tasks.datasets.cleaning import clean, count
from kpo.tasks.datasets.similarity import Overlap
from kpo.tasks.problems import DataError, Problem


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1, timeout_s=20) as made:
        yield made


def rows(*texts: tuple[str, str]) -> list[Problem]:
    return [Problem(str(i), problem, answer) for i, (problem, answer) in enumerate(texts)]


Cleaned = tuple[list[Problem], list[dict[str, Any]]]


def cleaned(
    grader: Grader, problems: list[Problem], overlap: Overlap | None = None, **data: Any
) -> Cleaned:
    kept, drops = clean(
        "set",
        problems,
        Data(**data).cleaning(),
        grader,
        overlap,
    )
    assert sum(count(drops).values()) + len(kept) == len(problems)
    return kept, [drop.row() for drop in drops]


def test_the_first_of_equal_rows_stays(grader: Grader) -> None:
    problems = rows(
        ("What is $1+1$?", "2"),
        ("What is 3?", "3"),
        ("What is $1+1$?", "2"),
        ("what is 1 + 1", "2"),
        ("What is $1-1$?", "0"),
        ("What is $1+1$?", "2"),
    )
    kept, dropped = cleaned(grader, problems)
    assert kept == [problems[0], problems[1], problems[4]]
    assert dropped == [{"reason": "duplicates", "ids": ["2", "3", "5"], "of": "0"}]


def test_one_problem_with_two_golds_goes(grader: Grader) -> None:
    problems = rows(("p?", "1"), ("q?", "5"), ("p?", "2"), ("P", "1"))
    kept, dropped = cleaned(grader, problems)
    assert kept == [problems[1]]
    assert dropped == [{"reason": "contradictions", "ids": ["0", "2", "3"], "golds": ["1", "2"]}]


def test_golds_that_are_equal_contradict_nothing(grader: Grader) -> None:
    problems = rows(("p?", "\\frac{1}{2}"), ("p?", "0.5"), ("p?", "\\dfrac12"))
    kept, dropped = cleaned(grader, problems)
    assert kept == problems[:1]
    assert dropped == [{"reason": "duplicates", "ids": ["1", "2"], "of": "0"}]


BAD = rows(("p?", "1"), ("q?", "\\frac{"), ("r?", "\\frac{"), ("s?", "2"))


def test_an_unusable_gold_is_refused_by_name(grader: Grader) -> None:
    with pytest.raises(DataError) as error:
        cleaned(grader, BAD)
    assert str(error.value) == (
        "set: 2 rows have a gold that no answer can be equal to; the first is 1 (gold '\\\\frac{',"
        " complaint 'does not parse or is not equal to itself'); data.unusable_golds: drop would"
        " leave them out"
    )


def test_an_unusable_gold_can_be_dropped(grader: Grader) -> None:
    kept, dropped = cleaned(grader, BAD, unusable_golds="drop")
    assert kept == [BAD[0], BAD[3]]
    assert [(drop["reason"], drop["ids"]) for drop in dropped] == [
        ("unusable_golds", ["1"]),
        ("unusable_golds", ["2"]),
    ]


BENCHMARK = Overlap([("aime", "7", "What is the largest prime below one hundred and two?")])


def test_a_benchmarks_problem_goes_with_its_repeats(grader: Grader) -> None:
    problems = rows(
        ("What is the largest prime below one hundred and two? Box it.", "101"),
        ("p?", "1"),
        ("What is the largest prime below one hundred and two? Box it.", "101"),
    )
    kept, dropped = cleaned(grader, problems, BENCHMARK)
    assert kept == [problems[1]]
    assert dropped == [
        {"reason": "duplicates", "ids": ["2"], "of": "0"},
        {
            "reason": "contamination",
            "ids": ["0"],
            "benchmark": "aime",
            "problem": "7",
            "share": 1.0,
        },
    ]


@pytest.mark.parametrize(
    ("key", "problems"),
    [
        ("duplicates", rows(("p?", "1"), ("p?", "1"))),
        ("contradictions", rows(("p?", "1"), ("p?", "2"))),
        ("contamination", rows(("What is the largest prime below one hundred and two?", "1"))),
    ],
)
def test_what_is_dropped_can_be_refused(grader: Grader, key: str, problems: list[Problem]) -> None:
    with pytest.raises(DataError, match=rf"^set: . rows .*data\.{key}: drop would leave them out"):
        cleaned(grader, problems, BENCHMARK, **{key: "refuse"})


def test_a_set_without_faults_stays_as_it_is(grader: Grader) -> None:
    problems = rows(("81-9+4=?", "76"), ("81+9-4=?", "86"), ("18-9+4=?", "13"))
    assert cleaned(grader, problems, BENCHMARK) == (problems, [])
