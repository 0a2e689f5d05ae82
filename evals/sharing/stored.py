"""Results as they are kept: an experiment's folder, a reference, or a published data set.

What a comparison reads of it: table1.csv; manifests.json, or in an experiment's own folder the
manifests themselves; and, if they are there, scores.csv and training.csv, without which nothing can
be paired.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from kpo.common.cli import UserError
from kpo.config.experiment import run_name
from kpo.config.grid import TRAIN
from kpo.evals.metrics import Floats
from kpo.evals.table.build import scored
from kpo.evals.table.data import OVERALL, Cell, Row, Tally
from kpo.evals.table.gathered import laid_over, manifests
from kpo.evals.table.manifests import parsed
from kpo.evals.table.trainings import STILL
from kpo.objective import Role
from kpo.registry import objective_class

TABLE, SCORES, TRAINING, MANIFESTS = "table1.csv", "scores.csv", "training.csv", "manifests.json"
FILES = (TABLE, MANIFESTS, SCORES, TRAINING)
"""All that a comparison reads."""
ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
Line = Mapping[str, str]
"""Of a CSV file, by column."""
Scores = Mapping[str, list[Floats]]
Cells = Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class Stored:
    """Results, read and checked against each other; `name` is what readers are told.

    Attributes:
        k: answers to a problem.
        problems: (benchmark, id) of each; none where nothing can be paired.
        right: right answers to each problem, by run; none where nothing can be paired.
        training: the lines of training.csv.
        recorded: what manifests.json holds: see `evals.table.gathered`.
    """

    name: str
    lines: Sequence[Line]
    k: int
    benchmarks: tuple[str, ...]
    problems: Sequence[tuple[str, str]]
    right: Mapping[str, npt.NDArray[np.int64]]
    training: Sequence[Line]
    recorded: Mapping[str, Any]

    def manifest(self, kind: str, run: str) -> dict[str, Any]:
        """Of a run's training (`runs`) or evaluation (`evals`)."""
        parts = self.recorded.get(kind, {"own": {}})
        if run not in parts["own"]:
            raise UserError(f"{self.name}: {MANIFESTS} has no {run} in {kind}")
        return laid_over(parts["shared"], parts["own"][run])

    @cached_property
    def rows(self) -> dict[str, Row]:
        """The rows of its table, by name."""
        return {line["name"]: self._row(line) for line in self.lines}

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds, which all its trained rows have."""
        return next(row.seeds for row in self.rows.values() if row.seeds)

    def _row(self, line: Line) -> Row:
        name, objective = line["name"], line["objective"]
        texts = line["seeds"].split()
        seeds = tuple(int(text.removesuffix(STILL)) for text in texts)
        still = tuple(s for s, text in zip(seeds, texts, strict=True) if text.endswith(STILL))
        trained = [own for own in self.training if own["name"] == name]
        lost = {int(own["seed"]) for own in trained if own["collapsed"] == "yes"}
        scores, cells = self._scored(line, [run_name(name, seed) for seed in seeds] or [name])
        return Row(
            name,
            line["method"],
            objective if _known(objective) else "",
            ROLES.get(trained[0]["role"]) if trained else None,
            _settings(line),
            seeds,
            scores,
            cells,
            {benchmark: Tally() for benchmark in self.benchmarks},
            still,
            tuple(seed for seed in seeds if seed in lost),
        )

    def _scored(self, line: Line, runs: Sequence[str]) -> tuple[Scores, Cells]:
        """Scores and cells of a row; without scores, the table's own cells.

        Raises UserError where the table says otherwise than the scores.
        """
        told = {
            (metric, column): _cell(line, f"{column}_{metric}@{self.k}")
            for metric in ("avg", "pass")
            for column in (*self.benchmarks, OVERALL)
        }
        if not self.right:
            return {}, told
        if missing := [run for run in runs if run not in self.right]:
            raise UserError(f"{self.name}: {SCORES} has no column {missing[0]}")
        counts = np.stack([self.right[run] for run in runs])
        of = np.array([benchmark for benchmark, _ in self.problems])
        answers = np.arange(self.k) < counts[..., None]
        scores, cells = scored({b: answers[:, of == b] for b in self.benchmarks})
        for place, cell in cells.items():
            if abs(cell.mean - told[place].mean) > 0.51e-4:
                raise UserError(
                    f"{self.name}: {TABLE} and {SCORES} are not of the same answers:"
                    f" {place[0]}@{self.k} of {line['name']} in {place[1]} is"
                    f" {100 * told[place].mean:.2f} in the one and {100 * cell.mean:.2f} in the"
                    " other"
                )
        return scores, cells


def read(folder: Path, name: str) -> Stored:
    """Read what a folder holds. Raises UserError for what is missing or does not fit together."""
    if not (folder / TABLE).is_file():
        raise UserError(f"{name}: there is no {TABLE}")
    lines = _lines(folder / TABLE, name, "method", "name", "objective", "seeds")
    found = (re.fullmatch(f"{OVERALL}_avg@([0-9]+)", column) for column in lines[0])
    k = next((int(match[1]) for match in found if match), 0)
    if not k:
        raise UserError(f"{name}: {TABLE} has no column {OVERALL}_avg@k: it is no table of kpo's")
    end = f"_avg@{k}"
    columns = [column.removesuffix(end) for column in lines[0] if column.endswith(end)]
    paired = all((folder / sheet).is_file() for sheet in (SCORES, TRAINING))
    scores = _lines(folder / SCORES, name, "benchmark", "problem", "answers") if paired else []
    if odd := [line for line in scores if line["answers"] != str(k)]:
        raise UserError(f"{name}: {SCORES} is of {odd[0]['answers']} answers a problem, not {k}")
    runs = [*scores[0]][3:] if scores else []
    training = ("name", "seed", "role", "collapsed")
    return Stored(
        name=name,
        lines=lines,
        k=k,
        benchmarks=tuple(column for column in columns if column != OVERALL),
        problems=[(line["benchmark"], line["problem"]) for line in scores],
        right={run: np.array([int(line[run]) for line in scores]) for run in runs},
        training=_lines(folder / TRAINING, name, *training) if paired else [],
        recorded=_manifests(folder, name),
    )


def _manifests(folder: Path, name: str) -> Mapping[str, Any]:
    """What was gathered, or, in an experiment's own folder, what is there now."""
    if (folder / "base/manifest.json").is_file():
        return manifests(folder)
    if not (folder / MANIFESTS).is_file():
        raise UserError(
            f"{name}: neither {MANIFESTS} nor base/, runs/ and evals/ lie beside {TABLE}, so how"
            " its rows were made is not known; name the table in results/<experiment>"
        )
    recorded: Mapping[str, Any] = parsed(folder / MANIFESTS)
    return recorded


def _lines(path: Path, name: str, *wanted: str) -> list[Line]:
    """Of a CSV file of the results `name`."""
    lines: list[Line] = parsed(path, lambda text: [*csv.DictReader(text.splitlines())])
    if not lines:
        raise UserError(f"{name}: {path.name} has no rows")
    if missing := [column for column in wanted if column not in lines[0]]:
        raise UserError(f"{name}: {path.name} has no column {missing[0]!r}")
    if any(None in line or None in line.values() for line in lines):
        raise UserError(f"{name}: a row of {path.name} does not fit its header")
    return lines


def _settings(line: Line) -> dict[str, Any]:
    """Columns between objective and seeds; an empty one is a setting only if the objective's."""
    names, objective = [*line], line["objective"]
    own = objective_class(objective).__dataclass_fields__ if _known(objective) else {}
    return {
        name: _value(line[name])
        for name in names[names.index("objective") + 1 : names.index("seeds")]
        if line[name] or name in own or (objective and name.startswith(TRAIN))
    }


def _value(text: str) -> Any:
    """The inverse of `kpo.common.text.number`."""
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return {"": None, "True": True, "False": False}.get(text, text)


def _cell(line: Line, column: str) -> Cell:
    return Cell(*(float(line[f"{column}{end}"] or "nan") / 100 for end in ("", "_low", "_high")))


def _known(objective: str) -> bool:
    """Whether an objective, which may be of a package that is not here, is known."""
    try:
        return bool(objective and objective_class(objective))
    except ValueError:
        return False
