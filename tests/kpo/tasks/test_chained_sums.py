"""The embedded task: the split, the tiers, worked responses, and the files."""

import hashlib
import itertools
import json
import random
import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kpo.evals.grading.extract import extract_boxed
from kpo.tasks.chained_sums import ChainedSums, Sum
from kpo.tasks.drawn import is_held_out

seeded = settings(derandomize=True, deadline=None, max_examples=50)
TASK = ChainedSums()
TIERS = TASK.tiers
every_tier = pytest.mark.parametrize("tier", TIERS)
EXAMPLE = Sum(81, (-9, 4, -4, 9, -4))


def draws(tier: str, count: int, seed: int = 0, *, held_out: bool = False) -> list[Sum]:
    rng = random.Random(seed)
    drawn = [TASK.drawn(rng, TIERS[tier], held_out=held_out) for _ in range(count)]
    return [problem for problem in drawn if isinstance(problem, Sum)]


def terms(text: str) -> list[int]:
    """The signed terms of a problem, read from its text by other means than the module's."""
    assert re.fullmatch(r"\d{2}([+-][2-9])+=\?", text)
    return [int(term) for term in re.findall(r"[+-]?\d+", text)]


def totals(text: str) -> Iterable[int]:
    return itertools.accumulate(terms(text))


# Problems


def test_the_text_and_answer_of_an_example() -> None:
    assert EXAMPLE.text == "81-9+4-4+9-4=?"
    assert EXAMPLE.answer == 77


@every_tier
def test_problems_keep_the_rules(tier: str) -> None:
    low, high = TIERS[tier]
    problems = draws(tier, 400)
    for problem in problems:
        assert low <= len(terms(problem.text)) <= high
        assert 10 <= problem.start <= 99
        assert all(0 <= total <= 99 for total in totals(problem.text))
        assert problem.answer == sum(terms(problem.text))
    assert {len(terms(problem.text)) for problem in problems} == set(range(low, high + 1))


def test_every_operand_and_answer_comes_up() -> None:
    problems = draws("hard", 2000)
    assert {o for p in problems for o in p.operands} == {
        sign * size for sign in (-1, 1) for size in range(2, 10)
    }
    assert len({p.answer for p in problems}) > 95


def test_tiers_do_not_overlap_and_cover_three_to_eight_terms() -> None:
    lengths = [n for low, high in TIERS.values() for n in range(low, high + 1)]
    assert lengths == [3, 4, 5, 6, 7, 8]


# The split


@every_tier
def test_both_sides_are_disjoint_however_much_is_drawn(tier: str) -> None:
    train = {p.text for p in draws(tier, 5000, held_out=False)}
    test = {p.text for p in draws(tier, 1000, held_out=True)}
    assert not train & test


@seeded
@given(seed=st.integers(0, 2**32), tier=st.sampled_from(list(TIERS)), held_out=st.booleans())
def test_the_side_follows_from_the_text_alone(seed: int, tier: str, held_out: bool) -> None:
    problem = ChainedSums().drawn(random.Random(seed), TIERS[tier], held_out=held_out)
    start, *operands = terms(problem.text)
    assert is_held_out(Sum(start, tuple(operands)).text) is held_out


def test_a_tenth_is_held_out() -> None:
    """Of all 15,000 problems or so of three terms, counted."""
    every = [
        Sum(start, (a, b))
        for start, a, b in itertools.product(range(10, 100), range(-9, 10), range(-9, 10))
        if min(abs(a), abs(b)) >= 2 and 0 <= start + a <= 99 and 0 <= start + a + b <= 99
    ]
    assert sum(is_held_out(p.text) for p in every) / len(every) == pytest.approx(0.1, abs=0.01)


# Worked responses


def lines(response: str) -> list[tuple[int, int, int]]:
    """(total, operand, result) of each line but the last."""
    *sums, box = response.split("\n")
    assert re.fullmatch(r"\\boxed\{-?\d+\}", box)
    parts = [re.fullmatch(r"(-?\d+)([+-]\d)=(-?\d+)", line) for line in sums]
    return [(int(p[1]), int(p[2]), int(p[3])) for p in parts if p is not None]


def test_the_worked_example() -> None:
    assert EXAMPLE.worked(random.Random(0), slip=0) == (
        "81-9=72\n72+4=76\n76-4=72\n72+9=81\n81-4=77\n\\boxed{77}"
    )


@every_tier
def test_without_slips_every_line_and_the_box_are_right(tier: str) -> None:
    for problem in draws(tier, 100):
        response = problem.worked(random.Random(1), slip=0)
        assert [result for *_, result in lines(response)] == list(totals(problem.text))[1:]
        assert extract_boxed(response) == str(problem.answer)


@pytest.mark.parametrize("slip", [0.18, 1.0])
def test_slips_are_by_1_or_10_and_carry_on(slip: float) -> None:
    rng, offsets = random.Random(0), []
    for problem in draws("hard", 400):
        response = problem.worked(rng, slip)
        total = problem.start
        for (left, operand, result), term in zip(lines(response), problem.operands, strict=True):
            assert (left, operand) == (total, term)
            offsets.append(result - left - operand)
            total = result
        assert extract_boxed(response) == str(total)
    wrong = [offset for offset in offsets if offset]
    assert set(wrong) == {-10, -1, 1, 10}
    assert len(wrong) / len(offsets) == pytest.approx(slip, abs=0.03)


# Sets

DEFAULT_CONTENT = "1192d858c8952d04d3b405c1ef15a2e7852444778d2aacb7691310ea905257b1"
SMALL = ChainedSums(train=300, test=20)


def test_the_sets_are_as_large_as_they_say_and_apart() -> None:
    sets = {name: SMALL.problems(name) for name in SMALL.sets}
    assert {name: len(pairs) for name, pairs in sets.items()} == {
        "train": 300,
        **dict.fromkeys(TIERS, 20),
    }
    texts = [text for pairs in sets.values() for text, _ in pairs]
    assert len(set(texts)) == len(texts)
    for name, pairs in sets.items():
        for text, gold in pairs:
            start, *operands = terms(text)
            assert is_held_out(Sum(start, tuple(operands)).text) is (name != "train")
            assert gold == str(start + sum(operands))
    for tier, (low, high) in TIERS.items():
        assert all(low <= len(terms(text)) <= high for text, _ in sets[tier])
        share = sum(low <= len(terms(text)) <= high for text, _ in sets["train"]) / 300
        assert share == pytest.approx(1 / 3, abs=0.1)


def test_the_default_problems_and_solutions_stay_what_they_were() -> None:
    task = ChainedSums()
    drawn = [task.problems("train"), task.problems("easy"), task.worked(random.Random(5), 20)]
    assert hashlib.sha256(json.dumps(drawn).encode()).hexdigest() == DEFAULT_CONTENT


def test_no_problem_of_validation_is_one_of_the_test_or_of_training() -> None:
    task = ChainedSums(train=4000, test=300, tiers={"x": (3, 3), "y": (4, 4)})
    other = task.model_copy(update={"held_out": "validation"})
    assert other.problems("train") == task.problems("train")
    for name in task.tests:
        test, validation = (dict(each.problems(name)) for each in (task, other))
        assert len(validation) == 300
        assert not validation.keys() & test.keys()
        assert all(is_held_out(text) for text in validation)


def test_another_seed_draws_other_problems() -> None:
    other = ChainedSums(train=300, test=20, seed=1)
    assert all(other.problems(name) != SMALL.problems(name) for name in SMALL.sets)


def test_more_problems_keep_the_first_ones() -> None:
    many = ChainedSums(train=400, test=30)
    for name in SMALL.sets:
        assert many.problems(name)[: SMALL.size(name)] == SMALL.problems(name)


def test_other_tiers_have_their_lengths_and_a_longest_problem() -> None:
    task = ChainedSums(tiers={"pairs": (2, 2), "long": (30, 32)}, train=40, test=20)
    assert task.sets == ("train", "pairs", "long")
    assert {len(terms(text)) for text, _ in task.problems("pairs")} == {2}
    assert {len(terms(text)) for text, _ in task.problems("long")} == {30, 31, 32}
    texts = [text for name in task.sets for text, _ in task.problems(name)]
    assert max(map(len, texts)) == task.longest


def test_worked_solutions_are_of_training_problems_and_slip_as_the_settings_say() -> None:
    never, always = (ChainedSums(slip=slip).worked(random.Random(2), 50) for slip in (0, 1))
    assert [text for text, _ in never] == [text for text, _ in always]
    for (text, right), (_, wrong) in zip(never, always, strict=True):
        start, *operands = terms(text)
        assert not is_held_out(Sum(start, tuple(operands)).text)
        assert extract_boxed(right) == str(start + sum(operands))
        assert all(left + term != result for left, term, result in lines(wrong))


@pytest.mark.slow
def test_the_most_that_a_config_may_ask_for_exists() -> None:
    """Drawing goes on until there are enough, so there have to be: easy problems are the fewest."""
    assert len(ChainedSums(test=10_000).problems("easy")) == 10_000


def test_more_than_half_of_what_exists_is_refused() -> None:
    pairs = itertools.product(range(10, 100), range(-9, 10))
    count = sum(abs(o) > 1 and 0 <= start + o <= 99 for start, o in pairs)
    most = {"test": int(count * 0.1 / 2), "train": int(count * 0.9 / 2)}
    tiers = {"tiers": {"x": (2, 2)}}
    assert ChainedSums.model_validate({**tiers, **most}).size("x") == most["test"]
    both = {**tiers, **most, "held_out": "validation", "test": most["test"] // 2}
    assert len(ChainedSums.model_validate(both).problems("x")) == both["test"]
    with pytest.raises(ValidationError, match=f"must be at most {both['test']}"):
        ChainedSums.model_validate({**both, "test": most["test"]})
    for key, value in most.items():
        with pytest.raises(ValidationError, match=f"must be at most {value}"):
            ChainedSums.model_validate({**tiers, **most, key: value + 1})
