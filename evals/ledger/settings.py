"""Settings of the default that are not the paper's, or not those of the authors' code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpo.common.text import number
from kpo.config.experiment import Experiment
from kpo.config.train import OPERATIONAL
from kpo.evals.ledger.effects import difference

_SECTIONS = ("prompt", "train", "evaluate", "grading")
_PLACE = {"kind", "model"}
"""What is told of policy and task; the rest of them follows from it."""
_FOLLOWS = {
    *("problems", "benchmarks", "engine", "dtype", "gpus", "nodes"),
    *("max_tokens_per_microbatch", "activation_checkpointing"),
}
"""Settings of how a run is carried out, or of what policy and task say already."""


@dataclass(frozen=True)
class Setting:
    """A setting, in the paper's text, in the authors' code, and here; the effects of ours."""

    name: str
    paper: str
    code: str
    here: str
    effects: list[str]


def settings(
    here: Experiment, paper: Experiment, code: Experiment, switched: Experiment, kept: Path
) -> Iterator[Setting]:
    """Those in which `here` differs from the paper, or the paper's text from its code.

    switched: has rows in which a method trains with the paper's value of a setting, and others that
        they are compared with.
    """
    ours, theirs, codes = (_flat(experiment) for experiment in (here, paper, code))
    for name in dict.fromkeys([*ours, *theirs]):
        values = [flat.get(name) for flat in (theirs, codes, ours)]
        if len(set(map(str, values))) > 1:
            effects = list(_effects(name, values[0], switched, kept))
            paper_has, code_has, here_has = map(_text, values)
            yield Setting(name, paper_has, code_has, here_has, effects)


def _flat(experiment: Experiment) -> dict[str, Any]:
    """Values by path."""
    dump = experiment.model_dump(mode="json")
    flat = {f"policy.{key}": dump["policy"].get(key) for key in ("kind", "model")}
    flat |= {"task": dump["task"]["kind"] if dump["task"] else experiment.train.problems}
    for section in _SECTIONS:
        value = dump[section]
        parts = value if isinstance(value, Mapping) else {"": value}
        left = {key: one for key, one in parts.items() if key not in OPERATIONAL | _FOLLOWS}
        flat |= {f"{section}.{key}".rstrip("."): one for key, one in left.items()}
    return flat


def _effects(name: str, value: Any, switched: Experiment, kept: Path) -> Iterator[str]:
    section, _, key = name.partition(".")
    for row, reference in switched.compared:
        if section == "train" and switched.methods[row].train == {key: value}:
            found = difference(kept, switched.experiment, row, reference)
            yield f"{switched.methods[reference].label} {found}"


def _text(value: Any) -> str:
    return "-" if value is None else number(value)
