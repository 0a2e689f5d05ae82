"""Rows as responses: what is read, and what is refused with row, column and what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kpo.advantage import group_advantages
from kpo.common.cli import UserError
from kpo.diagnosis.columns import find_columns
from kpo.diagnosis.reading import open_dump
from kpo.diagnosis.responses import Response, responses
from kpo.diagnosis.survey import survey
from tests.kpo.diagnosis.dumps import Row, made_rows, padded, write_lines


def read(folder: Path, rows: Sequence[Row], **given: str) -> list[Response]:
    dump = open_dump(write_lines(folder / "dump", rows))
    columns = find_columns("dump", dump.columns, given)
    return list(responses(dump, columns, survey(dump, columns), texts=True))


def without(rows: Sequence[Row], *names: str) -> list[Row]:
    return [{name: cell for name, cell in row.items() if name not in names} for row in rows]


def test_rows_as_they_are(tmp_path: Path) -> None:
    rows = made_rows()
    found = read(tmp_path, rows)
    for one, row in zip(found, rows, strict=True):
        assert one.present.tolist() == row["logprobs"]
        assert one.old.tolist() == row["old_logprobs"]
        assert one.rollout is not None
        assert one.rollout.tolist() == row["rollout_logprobs"]
        assert one.advantages == (row["advantage"], row["advantage"])
        assert (one.use, one.tokens, one.prompt) == (row["use"], row["tokens"], row["prompt"])
    stages = [one.stage for one in found]
    assert stages == ["begin"] * 8 + ["middle"] * 8 + ["end"] * 8


def test_padding_is_cut_off_whatever_it_holds(tmp_path: Path) -> None:
    rows = made_rows()
    found = read(tmp_path, padded(rows, value=3.0))
    assert str(found) == str(read(tmp_path, rows))


def test_a_mask_with_holes(tmp_path: Path) -> None:
    row = made_rows(1)[0] | {"logprobs": [-1.0, 9.0, -2.0], "old_logprobs": [-1.5, 9.0, -2.5]}
    row |= {"rollout_logprobs": [-1.0] * 3, "tokens": [5, 6, 7], "mask": [True, False, True]}
    (one,) = read(tmp_path, [row])
    assert one.log_ratio.tolist() == [0.5, 0.5]
    assert one.tokens == ["5", "7"]


def test_advantages_of_tokens(tmp_path: Path) -> None:
    rows = [row | {"advantage": [2.0] * len(row["logprobs"])} for row in made_rows()]
    assert not any(one.uneven for one in read(tmp_path, rows))
    rows[3] = made_rows(1)[0] | {
        "logprobs": [-1.0, -1.0],
        "old_logprobs": [-1.0, -2.0],
        "rollout_logprobs": [-1.0, -1.0],
        "tokens": ["a", "b"],
        "advantage": [1.0, -3.0],
    }
    found = read(tmp_path, rows)
    assert [i for i, one in enumerate(found) if one.uneven] == [3]
    assert found[3].advantages == (-1.0, -1.0)


def rewarded(rewards: Sequence[float], groups: Sequence[Any], **more: Any) -> list[Row]:
    rows = without(made_rows(len(rewards)), "advantage", "prompt", "step", "use")
    pairs = zip(rows, rewards, groups, strict=True)
    return [row | {"reward": reward, "uid": group} | more for row, reward, group in pairs]


def test_advantages_of_rewards_within_groups(tmp_path: Path) -> None:
    rewards = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.5]
    found = read(tmp_path, rewarded(rewards, ["a", "b", "a", "b", "a", "c", "c"]))
    for rows in ([0, 2, 4], [1, 3], [5, 6]):
        own = torch.tensor([[rewards[row] for row in rows]])
        for i, divided in enumerate((True, False)):
            expected = group_advantages(own, divide_by_std=divided)[0]
            assert [found[row].advantages[i] for row in rows] == expected.tolist()


def test_rewards_of_tokens_are_added_up_where_the_mask_is(tmp_path: Path) -> None:
    rows = rewarded([0.0, 0.0], ["a", "a"])
    for row, rewards in zip(rows, ([0.25, 0.5, 8.0], [0.0, 0.5, 8.0]), strict=True):
        lists = {n: [-1.0] * 3 for n in ("logprobs", "old_logprobs", "rollout_logprobs", "tokens")}
        row |= {**lists, "reward": rewards, "mask": [1, 1, 0]}
    found = read(tmp_path, rows)
    assert [one.advantages[1] for one in found] == [0.125, -0.125]


def test_a_prompt_of_another_step_or_pass_is_another_group(tmp_path: Path) -> None:
    rows = rewarded([1.0, 0.0, 1.0, 1.0], ["a"] * 4)
    for row, step in zip(rows, (0, 0, 1, 1), strict=True):
        row["step"] = step
    assert [one.advantages[1] for one in read(tmp_path, rows)] == [0.5, -0.5, 0.0, 0.0]


@pytest.mark.parametrize(
    ("use", "expected"),
    [("first", "first"), ("later", "later"), (0, "first"), (3, "later"), (True, "later")],
)
def test_uses(tmp_path: Path, use: Any, expected: str) -> None:
    (one,) = read(tmp_path, [made_rows(1)[0] | {"use": use}])
    assert one.use == expected


def test_what_a_dump_does_not_say(tmp_path: Path) -> None:
    (one,) = read(tmp_path, without(made_rows(1), "use", "step", "tokens", "prompt"))
    assert (one.stage, one.use, one.tokens, one.prompt) == ("all", "all", None, None)


NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"logprobs": [-1.0]}, "column 'mask' holds 2 values; wanted is 1, as the log-probs have"),
        ({"old_logprobs": [-1.0] * 3}, "column 'old_logprobs' holds 3 values; wanted is 2"),
        ({"rollout_logprobs": [-1.0]}, "column 'rollout_logprobs' holds 1 values; wanted is 2"),
        ({"tokens": ["a"]}, "column 'tokens' holds 1 tokens; wanted is 2, as there are log-probs"),
        ({"tokens": "ab"}, "column 'tokens' holds 'ab'; wanted is a list of texts or ids"),
        ({"mask": [1]}, "column 'mask' holds 1 values; wanted is 2"),
        ({"mask": [1, None]}, "column 'mask' holds NaN or nothing; wanted is 0 or 1"),
        ({"mask": [0, 0]}, "column 'mask' has no token; wanted is a response of at least one"),
        ({"logprobs": []}, "column 'mask' holds 2 values; wanted is 0"),
        ({"logprobs": [-1.0, NAN]}, "'logprobs' holds nan at token 1; wanted is log-probs, finite"),
        ({"logprobs": [-1.0, None]}, "'logprobs' holds nan at token 1; wanted is log-probs"),
        ({"old_logprobs": [-np.inf, -1.0]}, "'old_logprobs' holds -inf at token 0; wanted is log"),
        ({"rollout_logprobs": [0.5, -1.0]}, "'rollout_logprobs' holds 0.5 at token 0; wanted is"),
        ({"logprobs": -1.0}, "column 'logprobs' holds -1.0; wanted is a list of numbers"),
        ({"logprobs": ["a", "b"]}, "column 'logprobs' holds ['a', 'b']; wanted is a list of num"),
        ({"logprobs": [[-1.0, -1.0]]}, "column 'logprobs' holds lists in a list, [1, 2]; wanted"),
        ({"logprobs": None}, "column 'logprobs' holds None; wanted is a list of numbers"),
        ({"advantage": None}, "column 'advantage' holds None; wanted is a finite number"),
        ({"advantage": NAN}, "column 'advantage' holds nan; wanted is a finite number"),
        ({"advantage": [1.0]}, "column 'advantage' holds 1 values; wanted is 2"),
        ({"advantage": [1.0, None]}, "'advantage' holds a NaN, infinite or missing advantage"),
        ({"step": 0.5}, "column 'step' holds 0.5; wanted is a whole number"),
        ({"step": "x"}, "column 'step' holds 'x'; wanted is a finite number"),
        ({"use": "second"}, "column 'use' holds 'second'; wanted is first or later, or the number"),
        ({"use": -1}, "column 'use' holds -1; wanted is first or later"),
        ({"use": None}, "column 'use' holds None; wanted is first or later"),
    ],
)
def test_the_row_the_column_and_what_is_wanted_are_named(
    tmp_path: Path, change: Row, sentence: str
) -> None:
    two: Row = {name: [-1.0, -1.0] for name in ("logprobs", "old_logprobs", "rollout_logprobs")}
    two |= {"tokens": ["a", "b"], "mask": [1, 1], "advantage": 1.0, "step": 1, "use": "first"}
    with pytest.raises(UserError) as error:
        read(tmp_path, [two, two, two | change])
    assert str(error.value).startswith(f"{tmp_path / 'dump'}, line 3: ")
    assert sentence in str(error.value)


def test_rounding_above_0_is_let_through(tmp_path: Path) -> None:
    row = made_rows(1)[0]
    row |= {name: [1e-6] for name in ("logprobs", "old_logprobs", "rollout_logprobs")}
    (one,) = read(tmp_path, [row | {"tokens": ["a"]}])
    assert one.present.tolist() == [1e-6]


def test_an_empty_response_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: column 'logprobs' has no token; wanted is"):
        read(tmp_path, [made_rows(1)[0] | {"logprobs": []}])


def test_a_group_of_one_is_refused_before_anything_else_is_read(tmp_path: Path) -> None:
    rows = rewarded([1.0, 0.0, 0.0], ["a", "b", "a"])
    rows[0]["logprobs"] = "unread"
    with pytest.raises(UserError) as error:
        read(tmp_path, rows)
    assert str(error.value) == (
        f"{tmp_path / 'dump'}, line 2: column 'uid' is this value's only one in its step and pass;"
        " wanted is at least two responses a group, or a column of advantages"
    )


@pytest.mark.parametrize("reward", [None, NAN, "1", [0.0, None]])
def test_a_reward_that_is_none_is_refused(tmp_path: Path, reward: Any) -> None:
    rows = rewarded([1.0, reward], ["a", "a"])
    with pytest.raises(UserError, match=r"line 2: column 'reward' holds .*; wanted is a finite"):
        read(tmp_path, rows)
