"""The same problem however it is spelled, and another however alike it looks."""

import os
import re
from pathlib import Path

import pytest

from kpo.tasks.datasets.similarity import NGRAM, SHARE, Match, Overlap, normalised
from kpo.tasks.problems import open_problems

BENCHMARKS = Path(os.environ.get("KPO_BENCHMARKS", "../shared/benchmarks"))
TRAIN = Path("../shared/train/gsm8k.jsonl")
TEXT = (
    "Let $x$ be a positive real number such that $\\left(x+\\frac{1}{x}\\right)^{2}=9$."
    " Find the value of $x^3 + x^{-3}$."
)


@pytest.mark.parametrize(
    "other",
    [
        TEXT.upper()
        .replace("\\LEFT", "\\left")
        .replace("\\RIGHT", "\\right")
        .replace("FRAC", "frac"),
        TEXT.replace(" ", "  ").replace("$x$ be", "$x$\n be"),
        TEXT.replace("$", ""),
        TEXT.replace("$x^3 + x^{-3}$", "\\(x^3+x^{-3}\\)"),
        TEXT.replace("\\frac", "\\dfrac"),
        TEXT.replace("\\left", "").replace("\\right", ""),
        TEXT.replace("\\left(", "\\Bigl( ").replace("\\right)", "\\Bigr)"),
        TEXT.replace("^{2}", "^2"),
        TEXT.replace("=9", "\\, = \\; 9"),
        TEXT.rstrip(".") + " ?",
        TEXT.replace(" Find", "\\nFind"),
    ],
)
def test_type_setting_does_not_matter(other: str) -> None:
    assert normalised(other) == normalised(TEXT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Compute $3+4$.", "Compute $3-4$."),
        ("Compute $3+4$.", "Compute $34$."),
        ("Compute $2(3+4)$.", "Compute $2(3)+4$."),
        ("Compute $5!$", "Compute $5$"),
        ("Is $1 2$ or", "Is $12$ or"),
        ("Compute $x^{12}$.", "Compute $x^12$."),
        ("81-9+4=?", "81+9-4=?"),
        ("Find $\\frac{1}{23}$", "Find $\\frac{12}{3}$"),
    ],
)
def test_every_sign_of_the_mathematics_does(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


# Problems of a benchmark in other texts

LONG = (
    "Every morning Aya goes for a 9-kilometer-long walk and stops at a coffee shop afterwards. When"
    " she walks at a constant speed of $s$ kilometers per hour, the walk takes her 4 hours,"
    " including $t$ minutes spent in the coffee shop. Find the number of minutes the walk takes"
    " her, including the $t$ minutes."
)
OVERLAP = Overlap([("aime", "1", LONG), ("aime", "2", "Compute $5!$."), ("other", "3", TEXT)])


def found(text: str) -> Match | None:
    return OVERLAP.find(normalised(text))


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        LONG.replace("$", ""),
        f"Solve this: {LONG} Reason step by step, and box the answer.",
        LONG.replace("Aya", "Bo").replace("coffee shop", "tea room"),
        LONG.replace("9", "12"),
        LONG.rsplit(".", 2)[0] + ". Give the answer as an integer.",
    ],
)
def test_a_near_duplicate_is_found(text: str) -> None:
    match = found(text)
    assert match is not None
    assert (match.benchmark, match.problem) == ("aime", "1")
    assert SHARE <= match.share <= 1


@pytest.mark.parametrize(
    "text",
    [
        "Every morning Aya goes for a walk in the park, and then she reads for an hour.",
        "Find the number of minutes that 3 workers need.",
        "Compute $6!$.",
        "Compute $5!$ and $6!$.",
        "x",
        "",
    ],
)
def test_another_problem_is_not(text: str) -> None:
    assert found(text) is None


def test_a_short_problem_must_be_the_whole_text() -> None:
    assert len(["Compute", "5", "!"]) < NGRAM
    assert found("compute $5!$") == Match("aime", "2", 1.0)


def test_problems_without_blanks_between_words() -> None:
    chinese = "\u5df2\u77e5\u51fd\u6570\u6ee1\u8db3\u6761\u4ef6\u6c42\u6700\u5927\u503c"
    overlap = Overlap([("b", "1", chinese)])
    assert overlap.find(normalised(chinese + "\u8bf7\u56de\u7b54")) == Match("b", "1", 1.0)


# The real ones, where they are


@pytest.fixture(scope="module")
def benchmarks() -> list[tuple[str, str, str]]:
    if not BENCHMARKS.is_dir():
        pytest.skip(f"no copies of the benchmarks in {BENCHMARKS} (KPO_BENCHMARKS names a folder)")
    names = [path.stem for path in sorted(BENCHMARKS.glob("*.jsonl"))]
    sets = {name: open_problems(name, folder=BENCHMARKS).load() for name in names}
    return [(name, p.id, p.problem) for name, problems in sets.items() for p in problems]


@pytest.mark.slow
def test_real_problems_are_found_and_others_are_not(
    benchmarks: list[tuple[str, str, str]],
) -> None:
    overlap = Overlap(benchmarks)
    texts = [text for *_, text in benchmarks]
    for change in (
        lambda text: text,
        lambda text: text.replace("$", "").replace("\\frac", "\\dfrac"),
        lambda text: re.sub(r"\s+", "\n ", text).upper() if "\\" not in text else text,
    ):
        assert all(overlap.find(normalised(change(text))) for text in texts)
    wrapped = sum(overlap.find(normalised(f"Solve: {text} Box it.")) is not None for text in texts)
    assert wrapped / len(texts) > 0.99  # but for the shortest
    for name in {name for name, *_ in benchmarks}:
        others = Overlap(row for row in benchmarks if row[0] != name)
        mine = [text for other, _, text in benchmarks if other == name]
        assert not any(others.find(normalised(text)) for text in mine)


def test_false_alarms_on_a_training_set(benchmarks: list[tuple[str, str, str]]) -> None:
    if not TRAIN.is_file():
        pytest.skip(f"no training set in {TRAIN}")
    overlap = Overlap(benchmarks)
    texts = [p.problem for p in open_problems("train", folder=TRAIN).load()]
    flagged = [match for text in texts if (match := overlap.find(normalised(text)))]
    assert [match.problem for match in flagged] == ["gsm8k/602"]  # the same with other numbers
