"""Whether results of two places can stand in one table, and what may differ between them.

What `evals.table` refuses among the runs of an experiment is refused here too: another protocol of
evaluation, another base, other problems, prompts or settings of training. A row may have settings
of its own (`OF_A_METHOD`), as in an experiment file; they are told in the table. What only says how
things are computed cannot be the same everywhere: it is told, and not refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpo.common.cli import UserError
from kpo.config.evaluate import Grading
from kpo.config.train import OF_A_METHOD, Train
from kpo.evals.sharing.stored import Stored
from kpo.evals.table.manifests import flatten, unlike
from kpo.evals.table.trainings import ALIKE, VERSIONS

HOW = {
    *("gpus", "ranks", "nodes", "max_tokens_per_microbatch"),
    *("activation_checkpointing", "deterministic"),
}
"""Settings of training that say how it is computed, not what."""
WHAT = {"name", "dtype", "generation_config"}
"""Of an engine, what it computes; the rest is how."""
_DEFAULTS = {name: f.default for name, f in Train.model_fields.items() if not f.is_required()}
_GRADING = Grading().model_dump(mode="json")

Record = dict[str, Any]


def check_alike(mine: Stored, theirs: Stored) -> list[str]:
    """What differs and is not refused, a phrase each.

    Raises UserError, with all that differs otherwise, for results that are not to be compared.
    """
    ours, others = _records(mine), _records(theirs)
    what, how = ({mine.name: a, theirs.name: b} for a, b in zip(ours, others, strict=True))
    if faults := unlike(what):
        raise UserError(
            f"{mine.name} cannot be compared with {theirs.name}, which is of another protocol:"
            f" {'; '.join(faults)}"
        )
    return unlike(how)


def trained_with(stored: Stored, run: str) -> Record:
    """Settings of a run's training; what did not exist when it was trained is at its default."""
    return _DEFAULTS | dict(stored.manifest("runs", run).get("settings", {}).get("train", {}))


def _records(stored: Stored) -> tuple[Record, Record]:
    """What was computed, and how: two flat records."""
    run = next((run for row in stored.rows.values() for run in row.runs.values()), None)
    if run is None:
        raise UserError(f"{stored.name}: no row of its table was trained")
    training, protocol = stored.manifest("runs", run), stored.manifest("evals", "base")["protocol"]
    given, train = training.get("settings", {}), trained_with(stored, run)
    settings = {
        **given,
        "train": {name: train[name] for name in train if name not in OF_A_METHOD | HOW},
        "grading": _GRADING | given.get("grading", {}),
    }
    trained = {**{key: training.get(key) for key in ALIKE}, "settings": settings}
    del trained["processes"]
    engines = {"evaluation": protocol.get("engine", {}), "training": training.get("engine", {})}
    what: Record = {"evaluation": {**protocol}, "training": trained}
    how: Record = {}
    for stage, engine in engines.items():
        what[stage]["engine"] = {key: engine[key] for key in engine if key in WHAT}
        how[stage] = {"engine": {key: engine[key] for key in engine if key not in WHAT}}
    how["training"] |= {name: train.get(name) for name in HOW}
    how["training"] |= {"processes": training.get("processes")}
    how["training"] |= {"code": str(training.get("code"))[:12]}
    packages: Mapping[str, str] = training.get("packages", {})
    how["packages"] = {name: packages.get(name) for name in VERSIONS}
    return flatten(what), flatten(how)
