"""The experiment that compares methods at the settings chosen for each, and at equal ones.

Every family of the tuning becomes a row with a grid of its own, whose one axis, `settings`, has the
values `equal`, the experiment's own train section and the objective's own defaults, and `tuned`; or
`both`, where these are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice, product
from typing import Any

import yaml

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment, make_experiment
from kpo.config.grid import told
from kpo.config.values import Engine
from kpo.evals.tuning.surface import Point, families_of
from kpo.registry import make_objective, settings_of

AXIS = "settings"
EQUAL, TUNED, BOTH = "equal", "tuned", "both"
SEEDS = 8
"""Fresh ones, unless another number is asked for."""


def is_comparison(experiment: Experiment) -> bool:
    """Whether an experiment is one that `chosen_experiment` made."""
    return all(method.at.keys() == {AXIS} for method in experiment.methods.values())


def chosen_experiment(
    experiment: Experiment, points: Sequence[Point], *, seeds: int, samples: int, engine: Engine
) -> str:
    """The text of a complete experiment file: fresh seeds, test problems, nothing extended.

    Raises UserError for a method that cannot be built without what its grid sets, and ConfigError
    for an evaluation that cannot be.
    """
    content = experiment.model_dump(mode="json", exclude_unset=True)
    content["experiment"] = name_of(experiment)
    content["seeds"] = list(islice((n for n in count() if n not in experiment.seeds), seeds))
    content["task"]["held_out"] = "test"
    content["evaluate"] |= {"engine": engine, "samples": samples}
    content["methods"] = {
        family: _row(experiment, family, rows) for family, rows in families_of(points).items()
    }
    content["compare"] = _compared(content["methods"])
    make_experiment(content, content["experiment"])
    edges = [f"{p.family} ({', '.join(p.edges)})" for p in points if p.chosen and p.edges]
    return (
        f"# Written by python -m evals.tune from the experiment {experiment.experiment}.\n"
        f"# Chosen at an edge of the grid: {'; '.join(edges) or 'none'}.\n"
        f"{yaml.safe_dump(content, sort_keys=False)}"
    )


def most_runs(families: Iterable[str | None]) -> int:
    """Runs of the experiment that follows from a tuning of these families, at most."""
    return 2 * SEEDS * len({family for family in families if family})


def name_of(experiment: Experiment) -> str:
    """What the chosen experiment is called: `tuned` after `tuning`."""
    name, _, end = experiment.experiment.rpartition("tuning")
    return f"{name}tuned{end}" if name or end != experiment.experiment else f"{end}-tuned"


def _row(experiment: Experiment, family: str, points: Sequence[Point]) -> dict[str, Any]:
    """A family's row: what its points share, and a grid of the two that are compared."""
    methods = [experiment.methods[point.name] for point in points]
    chosen = experiment.methods[next(point.name for point in points if point.chosen)]
    own = _varied([method.settings for method in methods])
    shared = {key: value for key, value in chosen.settings.items() if key not in own}
    try:
        defaults = settings_of(make_objective(chosen.objective, **shared))
    except ValueError as error:
        raise UserError(
            f"{family}: there is no row at equal settings without what its grid sets: {error}"
        ) from None
    varied = set(_varied([method.train for method in methods]))
    of_all = experiment.train.model_dump(mode="json", include=varied)
    best = settings_of(chosen.build())
    equal = {key: defaults[key] for key in own} | {"train": {**chosen.train, **of_all}}
    tuned = {key: best[key] for key in own} | {"train": chosen.train}
    return {
        "label": chosen.label.removesuffix(told(chosen.at)),
        "objective": chosen.objective,
        "role": chosen.role,
        **shared,
        "grid": {AXIS: {BOTH: tuned} if equal == tuned else {EQUAL: equal, TUNED: tuned}},
    }


def _compared(rows: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pairs of rows that are tested, declared before any of them is trained.

    A method tuned with the same at equal settings; and, both at equal or both at their own, every
    method with the first baseline, a proposed one with all others.
    """
    at = {family: row["grid"][AXIS].keys() for family, row in rows.items()}
    role = {family: row["role"] for family, row in rows.items()}

    def named(families: Iterable[str], side: str) -> list[str]:
        return [f"{family}-{side if side in at[family] else BOTH}" for family in families]

    found = [
        {"rows": named([family], TUNED), "against": named([family], EQUAL)}
        for family in rows
        if BOTH not in at[family]
    ]
    first = [family for family in rows if role[family] == "baseline"][:1]
    for side, (place, family) in product((EQUAL, TUNED), enumerate(rows)):
        before = [*rows][:place]
        others = [other for other in rows if role[other] != "proposed" or other in before]
        against = others if role[family] == "proposed" else [f for f in first if f != family]
        if against:
            found.append({"rows": named([family], side), "against": named(against, side)})
    return found


def _varied(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys that do not have one value in all the rows, in their order."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if any(row.get(key, ...) != rows[0].get(key, ...) for row in rows)]
