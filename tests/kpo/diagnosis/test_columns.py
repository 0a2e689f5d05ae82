"""Columns are recognised by the names that frameworks use, or taken as the user says."""

from __future__ import annotations

import pytest

from kpo.diagnosis.columns import ROLES, ColumnError, find_columns, given_columns

VERL = ["log_probs", "old_log_probs", "rollout_log_probs", "response_mask", "advantages"]
TRL = ["per_token_logps", "old_per_token_logps", "sampling_per_token_logps", "completion_mask"]


def refused(there: list[str], given: dict[str, str] | None = None) -> str:
    with pytest.raises(ColumnError) as error:
        find_columns("dump", there, given or {})
    return str(error.value)


@pytest.mark.parametrize(
    ("there", "rollout", "mask"),
    [
        (VERL, "rollout_log_probs", "response_mask"),
        ([*TRL, "advantages"], "sampling_per_token_logps", "completion_mask"),
    ],
)
def test_names_of_frameworks_are_known(there: list[str], rollout: str, mask: str) -> None:
    found = find_columns("dump", there, {})
    assert (found["present"], found["old"], found["rollout"]) == (there[0], there[1], rollout)
    assert (found["mask"], found["advantage"], found["step"]) == (mask, "advantages", None)
    assert found.of(["old", "step", "mask"]) == ["old_log_probs" * (mask[0] == "r") or TRL[1], mask]


def test_a_name_of_verl_s_scores_after_its_rewards() -> None:
    there = [*VERL[:2], "token_level_scores", "token_level_rewards", "uid", "prompts"]
    found = find_columns("dump", there, {})
    assert (found["reward"], found["group"]) == ("token_level_rewards", "uid")
    assert found["prompt"] == "prompts"


def test_given_names_come_first() -> None:
    given = given_columns(["present=a=b", "old=log_probs"])
    found = find_columns("dump", ["a=b", "log_probs", "old_log_probs", "advantages"], given)
    assert (found["present"], found["old"]) == ("a=b", "log_probs")


@pytest.mark.parametrize("pair", ["present", "present=", "now=a", "=a"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(ColumnError, match=r"wanted is ROLE=NAME with a ROLE of present, old"):
        given_columns([pair])


def test_what_is_not_there_is_named() -> None:
    there = ["a", "old_logprobs", "advantage"]
    assert refused(there).startswith(f"dump: no column of {ROLES['present'].holds}, such as logpr")
    assert refused(there).endswith(
        "there is a, old_logprobs, advantage; --column present=NAME takes another"
    )
    assert refused(there, {"present": "b"}) == (
        "dump: no column 'b'; there is a, old_logprobs, advantage"
    )
    assert "of the old policy" in refused(["logprobs", "advantage"])


def test_two_of_one_meaning_are_refused() -> None:
    sentence = refused(["logprobs", "log_probs", "old_logprobs", "advantage"])
    assert "columns logprobs and log_probs may both hold" in sentence
    assert sentence.endswith("say which by --column present=NAME")


def test_rewards_need_groups_and_one_of_rewards_and_advantages_is_needed() -> None:
    assert "neither advantages nor rewards" in refused(VERL[:2])
    assert "no column of what responses to one prompt share" in refused([*VERL[:2], "reward"])
    find_columns("dump", [*VERL[:2], "reward", "prompt"], {})
