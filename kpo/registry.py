"""Name -> objective: the one place that knows both kpo/ and baselines/.

Adding a method: one file with a frozen dataclass of settings (see `kpo.objective`), one line here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from kpo.baselines.cispo import CISPO
from kpo.baselines.dapo import DAPO
from kpo.baselines.dppo_tv import DPPOTV
from kpo.baselines.dr_grpo import DrGRPO
from kpo.baselines.fipo import FIPO
from kpo.baselines.gmpo import GMPO
from kpo.baselines.grpo import GRPO
from kpo.baselines.gspo import GSPO
from kpo.baselines.reinforce import REINFORCE
from kpo.baselines.sapo import SAPO
from kpo.baselines.token_clipped import TokenClipped
from kpo.baselines.vespo import VESPO
from kpo.filtered_ratio import KPO
from kpo.objective import Objective

OBJECTIVES: dict[str, type[Any]] = {
    "kpo": KPO,
    "grpo": GRPO,
    "token_clipped": TokenClipped,
    "gspo": GSPO,
    "gmpo": GMPO,
    "dapo": DAPO,
    "dr_grpo": DrGRPO,
    "cispo": CISPO,
    "sapo": SAPO,
    "dppo_tv": DPPOTV,
    "vespo": VESPO,
    "reinforce": REINFORCE,
    "fipo": FIPO,
}
SETTINGS: dict[str, dict[str, Any]] = {"kpo": {"q": 1e-6}, "dr_grpo": {"length": 4096}}
"""What is taken for settings that have no default: as in KPO's paper."""
TAKEN = ("objective", "label", "role", "control", "train", "grid", "family", "at")
"""Keys of a method in an experiment file that are no settings of its objective."""


def make_objective(name: str, /, **settings: Any) -> Objective:
    """Build the objective `name` with its settings.

    Raises ValueError for an unknown name, a setting that the objective does not use, a value that
    is not of the setting's declared type or out of its bounds, or a class that is no dataclass; the
    message lists what there is.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; there is {', '.join(sorted(OBJECTIVES))}")
    made = OBJECTIVES[name]
    if not hasattr(made, "__dataclass_fields__"):
        raise ValueError(
            f"objective {name}: {made.__name__} must be a dataclass (@dataclass(frozen="
            "True, kw_only=True)), whose fields are its settings"
        )
    known = [field.name for field in fields(made)]
    if taken := [key for key in TAKEN if key in known]:
        raise ValueError(
            f"objective {name}: {made.__name__} must not have a setting {taken[0]!r}, which means"
            " something else in an experiment file; a role is a ClassVar"
        )
    kinds = get_type_hints(made, include_extras=True)
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"objective {name} has no setting {key!r}; it has {', '.join(known)}")
        try:
            TypeAdapter(kinds[key], config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            must = error.errors()[0]["msg"].replace("Input should", "must")
            raise ValueError(f"objective {name}: {key} is {value!r}, but {must}") from None
    try:
        objective: Objective = made(**settings)
    except TypeError as error:  # a setting that has no default
        raise ValueError(f"objective {name}: {error}") from error
    return objective


def usual_objectives() -> dict[str, Objective]:
    """Every objective at its defaults, but those that lack one of which SETTINGS knows nothing."""
    made = {}
    for name in OBJECTIVES:
        with suppress(ValueError):
            made[name] = make_objective(name, **SETTINGS.get(name, {}))
    return made


def settings_of(objective: Any) -> dict[str, Any]:
    """Every setting of an objective with its value, also those left out or derived."""
    return asdict(objective)


def usual_words(name: str) -> dict[str, Any]:
    """Settings of an objective whose default is a word or nothing, with that default."""
    made = fields(OBJECTIVES[name]) if name in OBJECTIVES else ()
    return {f.name: f.default for f in made if f.default is None or isinstance(f.default, str)}


def setting_names() -> list[str]:
    """The settings of all objectives, in the order of the registry."""
    return list(dict.fromkeys(f.name for made in OBJECTIVES.values() for f in fields(made)))
