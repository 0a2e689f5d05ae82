"""Name -> objective: the one place that knows both kpo/ and baselines/.

Adding a method: one file with a frozen dataclass of settings (see `kpo.objective`), one line here;
or, from a package of one's own, an entry point of the group `kpo.objectives`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

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
from kpo.common.plugins import find, names
from kpo.filtered_ratio import KPO
from kpo.objective import Objective
from kpo.settings import check_settings

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
GROUP = "kpo.objectives"
"""Entry points by which other packages offer objectives."""
SETTINGS: dict[str, dict[str, Any]] = {"kpo": {"q": 1e-6}, "dr_grpo": {"length": 4096}}
"""What is taken for settings that have no default: as in KPO's paper."""
TAKEN = ("objective", "label", "role", "control", "train", "grid", "family", "at")
"""Keys of a method in an experiment file that are no settings of its objective."""


def objective_class(name: str) -> type[Any]:
    """The class that a name means.

    Raises ValueError for a name that means none, or more than one, and for what is no dataclass.
    """
    made: type[Any] = find(name, OBJECTIVES, GROUP, "objective")
    if not (isinstance(made, type) and hasattr(made, "__dataclass_fields__")):
        raise ValueError(
            f"objective {name}: {getattr(made, '__name__', made)} must be a dataclass"
            " (@dataclass(frozen=True, kw_only=True)), whose fields are its settings"
        )
    return made


def make_objective(name: str, /, **settings: Any) -> Objective:
    """Build the objective `name` with its settings.

    Raises ValueError for an unknown name, a setting that the objective does not use, a value that
    is not of the setting's declared type or out of its bounds, or a class that cannot be an
    objective's; the message lists what there is.
    """
    made = objective_class(name)
    known = [field.name for field in fields(made)]
    if taken := [key for key in TAKEN if key in known]:
        raise ValueError(
            f"objective {name}: {made.__name__} must not have a setting {taken[0]!r}, which means"
            " something else in an experiment file; a role is a ClassVar"
        )
    try:
        check_settings(made, settings)
        objective: Objective = made(**settings)
    except (TypeError, ValueError) as error:  # TypeError: a setting that has no default
        raise ValueError(f"objective {name}: {error}") from error
    return objective


def usual_objectives() -> dict[str, Objective]:
    """Every objective there is at its defaults, but those that cannot be made so.

    They lack a default of which SETTINGS knows nothing, or are another package's and broken.
    """
    made = {}
    for name in names(OBJECTIVES, GROUP):
        with suppress(ValueError):
            made[name] = make_objective(name, **SETTINGS.get(name, {}))
    return made


def settings_of(objective: Any) -> dict[str, Any]:
    """Every setting of an objective with its value, also those left out or derived."""
    return asdict(objective)


def usual_words(name: str) -> dict[str, Any]:
    """Settings of an objective whose default is a word or nothing, with that default."""
    made = fields(objective_class(name)) if name else ()
    return {f.name: f.default for f in made if f.default is None or isinstance(f.default, str)}


def setting_names(further: Iterable[str] = ()) -> list[str]:
    """The settings of the suite's objectives, in the order of the registry, and of further ones."""
    others = (objective_class(name) for name in further if name not in OBJECTIVES)
    made = [*OBJECTIVES.values(), *others]
    return list(dict.fromkeys(field.name for kind in made for field in fields(kind)))
