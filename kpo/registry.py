"""Name -> objective: the one place that knows both kpo/ and baselines/.

Adding a method: one file with a frozen dataclass of settings (see `kpo.objective`), one line here.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from baselines.gmpo import GMPO
from baselines.grpo import GRPO
from baselines.gspo import GSPO
from baselines.token_clipped import TokenClipped
from kpo.filtered_ratio import FilteredRatio
from kpo.objective import Objective

OBJECTIVES: dict[str, type[Any]] = {
    "kpo": FilteredRatio,
    "grpo": GRPO,
    "token_clipped": TokenClipped,
    "gspo": GSPO,
    "gmpo": GMPO,
}


def make_objective(name: str, /, **settings: float | None) -> Objective:
    """Build the objective `name` with its settings.

    Raises ValueError for an unknown name, a setting that the objective does not use, a value that
    is not a number, one out of bounds, or a class that is no dataclass; the message lists what
    there is.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; there is {', '.join(sorted(OBJECTIVES))}")
    if not is_dataclass(OBJECTIVES[name]):
        raise ValueError(
            f"objective {name}: {OBJECTIVES[name].__name__} must be a dataclass (@dataclass(frozen="
            "True, kw_only=True)), whose fields are its settings"
        )
    known = [field.name for field in fields(OBJECTIVES[name])]
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"objective {name} has no setting {key!r}; it has {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"objective {name}: {key} must be a number, got {value!r}")
    try:
        objective: Objective = OBJECTIVES[name](**settings)
    except TypeError as error:  # None for a setting that must be a number
        raise ValueError(f"objective {name}: {error}") from error
    return objective
