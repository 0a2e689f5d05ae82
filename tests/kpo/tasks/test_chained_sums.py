"""The embedded task: the split, the tiers, worked responses, and the files."""

import itertools
import json
import random
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.grading.extract import extract_boxed
from kpo.config.experiment import ChainedSums
from kpo.tasks import chained_sums
from kpo.tasks.chained_sums import TIERS, Sum, draw, draw_distinct, write_problems
from kpo.tasks.problems import Problem, load_problems

seeded = settings(derandomize=True, deadline=None, max_examples=50)
every_tier = pytest.mark.parametrize("tier", TIERS)
EXAMPLE = Sum(81, (-9, 4, -4, 9, -4))


def draws(tier: str, count: int, seed: int = 0, *, held_out: bool = False) -> list[Sum]:
    rng = random.Random(seed)
    return [draw(rng, tier, held_out=held_out) for _ in range(count)]


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
    problem = draw(random.Random(seed), tier, held_out=held_out)
    start, *operands = terms(problem.text)
    assert Sum(start, tuple(operands)).held_out is held_out


def test_a_tenth_is_held_out() -> None:
    """Of all 15,000 problems or so of three terms, counted."""
    every = [
        Sum(start, (a, b))
        for start, a, b in itertools.product(range(10, 100), range(-9, 10), range(-9, 10))
        if min(abs(a), abs(b)) >= 2 and 0 <= start + a <= 99 and 0 <= start + a + b <= 99
    ]
    assert sum(p.held_out for p in every) / len(every) == pytest.approx(0.1, abs=0.01)


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


# Files


def read(folder: Path) -> dict[str, list[Problem]]:
    return {name: load_problems(name, folder=folder) for name in ("train", *TIERS)}


def test_the_files_hold_what_the_settings_say(tmp_path: Path) -> None:
    write_problems(ChainedSums(train=300, test=20), tmp_path / "problems")
    files = read(tmp_path / "problems")
    assert {name: len(problems) for name, problems in files.items()} == {
        "train": 300,
        **dict.fromkeys(TIERS, 20),
    }
    texts = [p.problem for problems in files.values() for p in problems]
    assert len(set(texts)) == len(texts)
    for name, problems in files.items():
        for problem in problems:
            start, *operands = terms(problem.problem)
            assert Sum(start, tuple(operands)).held_out is (name != "train")
            assert problem.answer == str(start + sum(operands))
    for tier, (low, high) in TIERS.items():
        assert all(low <= len(terms(p.problem)) <= high for p in files[tier])
        share = sum(low <= len(terms(p.problem)) <= high for p in files["train"]) / 300
        assert share == pytest.approx(1 / 3, abs=0.1)


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_problems(ChainedSums(train=50, test=5, seed=seed), tmp_path / name)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert all(content(tmp_path / "a")[f] != text for f, text in content(tmp_path / "c").items())


def test_more_problems_keep_the_first_ones(tmp_path: Path) -> None:
    write_problems(ChainedSums(train=20, test=3), tmp_path / "few")
    write_problems(ChainedSums(train=80, test=9), tmp_path / "many")
    few, many = content(tmp_path / "few"), content(tmp_path / "many")
    assert all(many[name].startswith(text) for name, text in few.items())


def test_the_files_appear_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "problems"
    write_problems(ChainedSums(train=5, test=2), out)
    before = content(out)
    written: list[object] = []

    def full_disk(row: object) -> str:
        written.append(row)
        if len(written) > 4:
            raise OSError("no space left")
        return json.JSONEncoder().encode(row)

    monkeypatch.setattr(json, "dumps", full_disk)
    for folder in (out, tmp_path / "new"):
        written.clear()
        with pytest.raises(OSError, match="no space"):
            write_problems(ChainedSums(train=9, test=2), folder)
    assert content(out) == before
    assert not (tmp_path / "new").exists()


def test_drawing_distinct_problems_keeps_their_order() -> None:
    a, b, c = (Sum(10, (2, n)) for n in (2, 3, 4))
    stream = iter([a, b, a, b, c])
    assert draw_distinct(3, lambda: next(stream)) == [a, b, c]


@pytest.mark.slow
def test_the_most_that_a_config_may_ask_for_exists() -> None:
    """Drawing goes on until there are enough, so there have to be: easy problems are the fewest."""
    most = 10_000
    rng = random.Random(0)
    assert len(draw_distinct(most, lambda: draw(rng, "easy", held_out=True))) == most


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--config", "workflow/config/tiny.yaml", "--out", str(tmp_path / "problems")]
    monkeypatch.setattr("sys.argv", ["chained_sums", *arguments])
    chained_sums.main()
    assert sorted(content(tmp_path / "problems")) == [
        "easy.jsonl",
        "hard.jsonl",
        "medium.jsonl",
        "train.jsonl",
    ]


def test_the_command_line_wants_a_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", "workflow/config/paper.yaml", "--out", "nowhere"]
    monkeypatch.setattr("sys.argv", ["chained_sums", *arguments])
    with pytest.raises(SystemExit) as exit_:
        chained_sums.main()
    assert exit_.value.code == 2
    assert "paper.yaml has no task section" in capsys.readouterr().err
