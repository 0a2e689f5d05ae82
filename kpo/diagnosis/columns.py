"""Which column of a dump holds what: recognised by the names that frameworks use, or given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kpo.common.cli import UserError


@dataclass(frozen=True)
class Role:
    """What a column may hold.

    Attributes:
        holds: what it is, for help and messages.
        names: under which it is recognised, the best first.
        exclusive: two of these names in one dump are refused: which is meant, nobody can know.
    """

    holds: str
    names: tuple[str, ...]
    exclusive: bool = False


ROLES: dict[str, Role] = {
    "present": Role(
        "log-probs of the policy that is updated, one a token, in nats",
        ("logprobs", "log_probs", "log_prob", "per_token_logps", "trainer_logprobs"),
        exclusive=True,
    ),
    "old": Role(
        "log-probs of the old policy, by which ratios divide",
        ("old_logprobs", "old_log_probs", "old_log_prob", "old_per_token_logps"),
        exclusive=True,
    ),
    "rollout": Role(
        "log-probs of the engine that sampled",
        (
            *("rollout_logprobs", "rollout_log_probs", "sampling_per_token_logps"),
            *("inference_logprobs", "sampled_logprobs"),
        ),
        exclusive=True,
    ),
    "advantage": Role("advantages, one a response or one a token", ("advantage", "advantages")),
    "reward": Role(
        "rewards, one a response or one a token, of which advantages are made",
        ("reward", "rewards", "token_level_rewards", "token_level_scores", "score", "scores"),
    ),
    "group": Role(
        "what responses to one prompt share, to make advantages of rewards",
        ("group", "uid", "group_id", "prompt_id", "prompt", "prompts"),
    ),
    "mask": Role(
        "nonzero where a token is the response's; the others may hold anything",
        ("mask", "response_mask", "completion_mask", "loss_mask"),
    ),
    "tokens": Role(
        "tokens as texts or ids, for --html",
        ("tokens", "token_texts", "responses", "response_ids", "completion_ids", "token_ids"),
    ),
    "prompt": Role("the prompt, for --html", ("prompt", "prompts", "prompt_id")),
    "step": Role("number of the training step", ("step", "global_step", "global_steps")),
    "use": Role(
        "first or later, or how many passes were made over the response before",
        ("use", "pass", "trained_on", "ppo_epoch"),
    ),
}
"""By the name that --column knows."""

NEEDED = ("present", "old")


class ColumnError(UserError):
    """A dump lacks a column, or has two for one role."""


@dataclass(frozen=True)
class Columns:
    """The column of each role that a dump has; None: it has none."""

    by_role: Mapping[str, str]

    def __getitem__(self, role: str) -> str | None:
        return self.by_role.get(role)

    def of(self, roles: Sequence[str]) -> list[str]:
        """The columns of some roles, as far as there are any."""
        return list(dict.fromkeys(self.by_role[role] for role in roles if role in self.by_role))


def given_columns(pairs: Sequence[str]) -> dict[str, str]:
    """The column by role, from ROLE=NAME on the command line. Raises ColumnError for no role."""
    given = {}
    for pair in pairs:
        role, mark, name = pair.partition("=")
        if role not in ROLES or not mark or not name:
            raise ColumnError(
                f"--column {pair}: wanted is ROLE=NAME with a ROLE of {', '.join(ROLES)}"
            )
        given[role] = name
    return given


def find_columns(where: str, there: Sequence[str], given: Mapping[str, str]) -> Columns:
    """What each of the columns `there` is taken for.

    Raises ColumnError, beginning with `where`, if one that is needed or `given` is not there.
    """
    found = {}
    for role, known in ROLES.items():
        if role in given:
            if given[role] not in there:
                raise ColumnError(f"{where}: no column {given[role]!r}; {_there(there)}")
            found[role] = given[role]
            continue
        names = [name for name in known.names if name in there and name not in given.values()]
        if known.exclusive and len(names) > 1:
            raise ColumnError(
                f"{where}: columns {' and '.join(names)} may both hold {known.holds}; say which by"
                f" --column {role}=NAME"
            )
        if names:
            found[role] = names[0]
    for role in NEEDED:
        if role not in found:
            raise ColumnError(
                f"{where}: no column of {ROLES[role].holds}, such as"
                f" {', '.join(ROLES[role].names[:3])}; {_there(there)}; --column {role}=NAME takes"
                " another"
            )
    if "advantage" not in found:
        _can_make_advantages(where, there, found)
    return Columns(found)


def _can_make_advantages(where: str, there: Sequence[str], found: Mapping[str, str]) -> None:
    for role, why in (
        ("reward", "neither advantages nor rewards"),
        ("group", f"rewards without advantages, and no column of {ROLES['group'].holds}"),
    ):
        if role not in found:
            raise ColumnError(
                f"{where}: {why}; wanted is a column such as {', '.join(ROLES[role].names[:3])}, or"
                f" advantages; {_there(there)}; --column {role}=NAME takes another"
            )


def _there(columns: Sequence[str]) -> str:
    return f"there is {', '.join(columns)}"
