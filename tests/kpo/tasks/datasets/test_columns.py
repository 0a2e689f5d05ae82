"""Problems and golds as they stand in columns: phrases, chats, numbers, lists, other layouts."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpo.tasks.datasets.columns import problem_and_gold, without_phrases
from kpo.tasks.datasets.sources import SOURCES, Source
from kpo.tasks.problems import DataError, open_problems

Row = dict[str, Any]
INSTRUCTION = SOURCES["dapo-math-17k"].instruction
assert INSTRUCTION is not None
PROBLEM = "Let's say that $a \\neq 5$. Find $\\frac{a}{2}$."

# The prompt's phrases, as they occur

SPELLINGS = [
    INSTRUCTION,
    INSTRUCTION.rstrip("."),
    INSTRUCTION.replace(".", " ."),
    INSTRUCTION.upper().replace("\\BOXED", "\\boxed"),
    INSTRUCTION.lower(),
    INSTRUCTION.replace("'", "\u2019"),
    INSTRUCTION.replace("'", "`"),
    INSTRUCTION.replace("'", ""),
    INSTRUCTION.replace(" ", "  "),
    INSTRUCTION.replace(" ", "\u00a0"),
    INSTRUCTION.replace("by step", "by\n step"),
    INSTRUCTION.replace("\\", "\\\\"),
    INSTRUCTION.replace("\\b", "\x08"),
    INSTRUCTION.replace("{}", "{ }"),
    INSTRUCTION.replace("{}", "\\{\\}"),
    INSTRUCTION.replace("\\boxed{}", "\\\\boxed{}").replace(" ", "\\n", 1),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("before", ["\n\n", " ", "", "\\n", "\\n\\n", " \\\\n ", "\r\n"])
@pytest.mark.parametrize("behind", ["", "\n", " \\n"])
def test_an_instruction_is_taken_off_however_it_is_spelled(
    spelling: str, before: str, behind: str
) -> None:
    assert without_phrases(PROBLEM + before + spelling + behind, None, INSTRUCTION) == PROBLEM


@pytest.mark.parametrize(
    "text",
    [
        PROBLEM,
        f"{INSTRUCTION} But first: what is 1+1?",
        f"{PROBLEM} Think step by step and output the final answer within \\boxed{{}}.",
        f"{PROBLEM} Let's think step by step and output the final answer within \\boxed{{x}}.",
    ],
)
def test_what_is_another_phrase_stays(text: str) -> None:
    assert without_phrases(text, None, INSTRUCTION) == text


def test_a_preamble_is_taken_off_the_beginning_alone() -> None:
    preamble = 'Solve this. The last line is "Answer: $Answer".'
    for problem in ("\\triangle ABC is given.", "In \\neq. " + preamble, "x?"):
        for start in ("", " ", "\\n"):
            for gap in ("\n\n", " ", "" if problem[0] == "\\" else "\\n\\n"):
                text = start + preamble.lower() + gap + problem
                if gap == "\\n\\n" and problem[0].islower():
                    continue  # \nx could be a macro
                assert without_phrases(text, preamble, None) == problem


def test_long_problems_are_searched_at_their_end_alone() -> None:
    long = "x " * 200_000
    assert without_phrases(f"{long}\n{INSTRUCTION}", None, INSTRUCTION) == long.rstrip()


# Chats


def read(problem: Any, answer: Any = "1", **source: Any) -> tuple[str, str]:
    columns = Source(hub="me/set", split="test", problem="p", answer="a", **source)
    return problem_and_gold("row 7", {"p": problem, "a": answer}, columns)


SYSTEM, USER = {"role": "system", "content": "You help."}, {"role": "user", "content": "1+1?"}
EARLIER = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}]


@pytest.mark.parametrize(
    "chat",
    [
        [USER],
        [SYSTEM, USER],
        [SYSTEM, *EARLIER, USER],
        [*EARLIER, USER, {"role": "assistant", "content": "2"}],
        [{"from": "system", "value": "x"}, {"from": "human", "value": "1+1?"}],
        [SYSTEM, {"role": "user", "content": [{"type": "text", "text": "1+1?"}]}],
        json.dumps([SYSTEM, USER]),
    ],
)
def test_the_last_user_turn_counts(chat: Any) -> None:
    assert read(chat)[0] == "1+1?"


@pytest.mark.parametrize(
    ("chat", "complaint"),
    [
        ([], "row 7: p holds no turn of the user"),
        ([SYSTEM], "row 7: p holds no turn of the user"),
        ([{"role": "user", "content": None}], "row 7: p must be a text, not empty, got None"),
        ([{"role": "user", "content": [{"type": "image"}]}], "row 7: p must be a text, not empty"),
        (["1+1?"], "row 7: p must be a text, not empty, got ['1+1?']"),
    ],
)
def test_a_chat_without_a_problem_is_refused(chat: Any, complaint: str) -> None:
    with pytest.raises(DataError) as error:
        read(chat)
    assert str(error.value).startswith(complaint)


def test_a_turn_by_its_number_must_be_the_users() -> None:
    columns = Source(hub="me/set", split="test", problem="p.0.content", answer="a")
    assert problem_and_gold("row 7", {"p": [USER], "a": "1"}, columns)[0] == "1+1?"
    with pytest.raises(DataError, match=r"row 7: p\.0\.content leads to a turn of the system; the"):
        problem_and_gold("row 7", {"p": [SYSTEM, USER], "a": "1"}, columns)


# Golds


@pytest.mark.parametrize(
    ("value", "gold"),
    [
        (0.5, "0.5"),
        (34.0, "34"),
        (-3, "-3"),
        pytest.param(10**400, "1" + 400 * "0", id="beyond all floats"),
        (1e-5, "0.00001"),
        (Decimal("2.50"), "2.50"),
        (Decimal("7"), "7"),
        ("True", "True"),
        (["34"], "34"),
        (["34", "34"], "34"),
        ('["34"]', "34"),
        ([0.5], "0.5"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_golds_that_are_read(value: Any, gold: str) -> None:
    assert read("x?", value) == ("x?", gold)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (True, "a must be a text, not empty, or a number, got True"),
        (float("inf"), "a must be a text, not empty, or a number, got inf"),
        ({"target": "3"}, "a must be a text, not empty, or a number, got {'target': '3'}"),
        (["3", "4"], "a holds 2 answers, ['3', '4'], and wanted is one; answer_form: first would"),
        ('["3", "4"]', "a holds 2 answers, ['3', '4'], and wanted is one"),
        ([], "a must be a text, not empty, or a number, got []"),
        ([None], "a must be a text, not empty, or a number, got None"),
    ],
)
def test_golds_that_are_refused_by_name(value: Any, complaint: str) -> None:
    with pytest.raises(DataError) as error:
        read("x?", value)
    assert str(error.value).startswith(f"row 7: {complaint}")


# A known data set in files


def test_files_may_have_the_columns_of_their_source(tmp_path: Path) -> None:
    prompt = [SYSTEM, {"role": "user", "content": f"{PROBLEM}\\n\\n{INSTRUCTION}"}]
    row = {"prompt": prompt, "reward_model": {"ground_truth": "34", "style": "rule"}}
    (tmp_path / "dapo-math-17k.jsonl").write_text(json.dumps(row))
    (tmp_path / "gsm8k-train.jsonl").write_text(
        json.dumps({"question": "x?", "answer": "1+1,233\n#### 1,234"})
    )
    (found,) = open_problems("dapo-math-17k", folder=tmp_path).load()
    assert (found.problem, found.answer) == (PROBLEM, "34")
    assert open_problems("gsm8k-train", folder=tmp_path).load()[0].answer == "1234"


def test_plain_columns_keep_the_sources_phrases_off(tmp_path: Path) -> None:
    row = {"problem": f"{PROBLEM} {INSTRUCTION}", "answer": 34}
    (tmp_path / "dapo-math-17k.jsonl").write_text(json.dumps(row))
    assert open_problems("dapo-math-17k", folder=tmp_path).load()[0].problem == PROBLEM
    mine = {"dapo-math-17k": Source(hub="me/set", split="train")}
    (kept,) = open_problems("dapo-math-17k", folder=tmp_path, sources=mine).load()
    assert kept.problem == row["problem"]
