"""KPO for language models: the filter, the objectives, the trainer that they share, and evaluation.

What others build on is named here; torch is imported with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpo.filtered_ratio import KPO as KPO
    from kpo.kalman import kalman_filter as kalman_filter
    from kpo.kalman import kalman_gains as kalman_gains
    from kpo.objective import Objective as Objective
    from kpo.objective import ObjectiveOutput as ObjectiveOutput
    from kpo.objective import TokenBatch as TokenBatch
    from kpo.objective import clipped_surrogate as clipped_surrogate
    from kpo.objective import masked_mean as masked_mean
    from kpo.objective import token_log_ratio as token_log_ratio
    from kpo.registry import make_objective as make_objective
    from kpo.settings import Settings as Settings
    from kpo.settings import Within as Within

HOMES = {
    "KPO": "kpo.filtered_ratio",
    "kalman_filter": "kpo.kalman",
    "kalman_gains": "kpo.kalman",
    "Objective": "kpo.objective",
    "ObjectiveOutput": "kpo.objective",
    "TokenBatch": "kpo.objective",
    "clipped_surrogate": "kpo.objective",
    "masked_mean": "kpo.objective",
    "token_log_ratio": "kpo.objective",
    "make_objective": "kpo.registry",
    "Settings": "kpo.settings",
    "Within": "kpo.settings",
}
"""Module by name."""
__all__ = [*HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'kpo' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
