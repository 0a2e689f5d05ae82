"""Sorting by exchanges: problems, worked responses, and the bounds of what may be asked for."""

import random

import pytest
from pydantic import ValidationError

from kpo.evals.grading.extract import extract_boxed
from kpo.tasks.drawn import is_held_out
from kpo.tasks.sorting import DIGITS, Digits, Sorting

SMALL = Sorting(train=200, test=20)


def inversions(digits: str) -> int:
    return sum(a > b for i, a in enumerate(digits) for b in digits[i + 1 :])


def test_the_worked_example() -> None:
    problem = Digits("4172")
    assert (problem.text, problem.answer) == ("4172=?", 1247)
    assert problem.worked(random.Random(0), slip=0) == "1472\n1427\n1247\n\\boxed{1247}"


def test_sets_have_their_lengths_and_golds_and_are_apart() -> None:
    sets = {name: SMALL.problems(name) for name in SMALL.sets}
    assert {name: len(pairs) for name, pairs in sets.items()} == {
        "train": 200,
        **dict.fromkeys(("short", "middle", "long"), 20),
    }
    for name, pairs in sets.items():
        for text, gold in pairs:
            digits = text.removesuffix("=?")
            assert set(digits) <= set(DIGITS)
            assert gold == "".join(sorted(digits))
            assert is_held_out(text) is (name != "train")
            assert len(text) <= SMALL.longest
    assert {len(text) - 2 for text, _ in sets["middle"]} == {8}
    assert {len(text) - 2 for text, _ in sets["train"]} == {7, 8, 9}


def test_without_slips_there_is_a_line_for_each_inversion_and_the_box_is_right() -> None:
    for text, response in Sorting(slip=0.0).worked(random.Random(3), 60):
        digits = text.removesuffix("=?")
        *lines, box = response.split("\n")
        assert len(lines) == inversions(digits)
        for before, after in zip([digits, *lines], lines, strict=False):
            moved = [i for i in range(len(digits)) if before[i] != after[i]]
            assert moved == [moved[0], moved[0] + 1]
            assert before[moved[0]] == after[moved[1]] > before[moved[1]] == after[moved[0]]
        assert extract_boxed(box) == "".join(sorted(digits))


def test_slips_change_a_digit_by_one_and_carry_on_to_the_box() -> None:
    slipped = wrong = lines = 0
    for text, response in Sorting(slip=0.1).worked(random.Random(4), 300):
        *rows, box = response.split("\n")
        lines += len(rows)
        assert extract_boxed(box) == (rows[-1] if rows else text.removesuffix("=?"))
        assert list(box[7:-1]) == sorted(box[7:-1])
        wrong += extract_boxed(box) != "".join(sorted(text.removesuffix("=?")))
        for before, after in zip([text.removesuffix("=?"), *rows], rows, strict=False):
            change = sum(map(int, after)) - sum(map(int, before))
            assert change in (-1, 0, 1)
            slipped += change != 0
    assert 0.08 < slipped / lines < 0.1  # at 1 and 9 a slip may come to nothing
    assert 100 < wrong < 290


def test_the_sizes_of_a_tier_have_bounds() -> None:
    with pytest.raises(ValidationError, match=r"two sizes in 2\.\.16, the smaller first"):
        Sorting(tiers={"x": (2, 17)})
    assert Sorting().existing((2, 3)) == 9**2 + 9**3
