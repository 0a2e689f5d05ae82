"""Problems with a verifiable answer, from the hub or from files in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from kpo.common.files import sha256_json
from kpo.evals.grading.golds import normalise_gold
from kpo.tasks.datasets.columns import PLAIN, Problem, as_text, columns_for, problem_and_gold
from kpo.tasks.datasets.reading import DataError, find_files, read_rows
from kpo.tasks.datasets.sources import SOURCES, Source

__all__ = ["DataError", "Problem"]  # to be had from here too


def content_hash(problems: Iterable[Problem]) -> str:
    """Hash of the problems' texts and answers, the same whatever they were loaded from."""
    return sha256_json([[problem.problem, problem.answer] for problem in problems])


@dataclass
class ProblemStream:
    """A data set's problems, one after the other, for sets that need not be held as a whole.

    Golds come as the source's normaliser makes them. Iterate it once, or `load` it as a whole.

    Attributes:
        where: the file or the hub id, for messages.
        origin: {"file"} for files, {"hub", "subset", "split", "revision"} for the hub, the revision
            being the commit that was resolved (None for a folder in the place of a hub id).
        count: problems that were iterated.
        content: `content_hash` of all rows, with golds as they stand there, behind the last one.
    """

    name: str
    where: str
    origin: dict[str, str | None]
    _rows: Iterator[Problem]
    _source: Source
    count: int = 0
    content: str = ""

    def __iter__(self) -> Iterator[Problem]:
        """Raises DataError, behind the last row, for an empty set and content that is refused."""
        content = hashlib.sha256()
        for problem in self._rows:
            pair = json.dumps([problem.problem, problem.answer], separators=(",", ":"))
            content.update(f"{',' if self.count else '['}{pair}".encode())
            self.count += 1
            yield replace(problem, answer=normalise_gold(self._source.normaliser, problem.answer))
        if not self.count:
            raise DataError(f"{self.where}: the data set is empty")
        content.update(b"]")
        self.content = content.hexdigest()
        if self._source.sha256 not in (None, self.content):
            raise DataError(
                f"{self.where}: the content's hash is {self.content}, expected"
                f" {self._source.sha256}; data.sources.{self.name}.sha256 of the experiment can"
                " name another, or null for any"
            )

    def load(self, limit: int | None = None) -> list[Problem]:
        """The first `limit` problems, of all that are checked, with ids that are all different."""
        problems = list(self)
        refuse_repeated_ids(self.where, problems)
        return problems[:limit]


def choose_folder(configured: str | None, variable: str) -> Path | None:
    """The folder of data files: the environment variable's, else the config's, else none."""
    folder = os.environ.get(variable) or configured
    return Path(os.path.expanduser(folder)) if folder else None  # noqa: PTH111 - ~nobody stays


def locate(
    name: str, *, folder: Path | None, sources: Mapping[str, Source] = {}
) -> list[Path] | Source:
    """Where the data set `name` is: files (`find_files`), or without a folder a place on the hub.

    `folder` may also be a file itself. Raises DataError for files that are not there, and for a
    name that is not known where there is no folder.
    """
    if folder is not None:
        return find_files(folder, name)
    known = {**SOURCES, **sources}
    if name not in known:
        raise DataError(
            f"unknown data set {name!r}; known: {', '.join(known)}; for any other a folder of data"
            " files must be named"
        )
    return known[name]


def refuse_repeated_ids(where: str, problems: Iterable[Problem]) -> None:
    """Raise DataError for an id that stands more than once."""
    counts = Counter(problem.id for problem in problems)
    if repeated := next((name for name, count in counts.items() if count > 1), None):
        raise DataError(f"{where}: the id {repeated!r} stands more than once")


def open_problems(
    name: str, *, folder: Path | None, sources: Mapping[str, Source] = {}
) -> ProblemStream:
    """The data set `name`, from files of `folder` if one is given, else from the hub.

    Rows from the hub must have the content hash of their source, if it has one. Files must have
    that of an entry of `sources`; what is known of the hub does not bind them.
    Raises DataError, here or while it is iterated, for a missing file, revision, split or column
    and a row that is not a problem with a gold.
    """
    place = locate(name, folder=folder, sources=sources)
    if isinstance(place, Source):
        return _from_hub(name, place)
    source = sources.get(name) or SOURCES.get(name, PLAIN).model_copy(update={"sha256": None})
    where = str(place[0] if len(place) == 1 else place[0].parent)
    files = " to ".join(dict.fromkeys([place[0].name, place[-1].name]))
    return ProblemStream(name, where, {"file": files}, _from_files(place, source), source)


def _from_files(paths: list[Path], source: Source) -> Iterator[Problem]:
    columns: Source | None = None
    for path in paths:
        prefix = f"{path.stem}/" if len(paths) > 1 else ""
        for number, where, cells in read_rows(path):
            columns = columns or columns_for(cells, source)
            name = as_text(cells.get("id")) or f"{prefix}{number}"
            yield Problem(name, *problem_and_gold(where, cells, columns))


def _from_hub(name: str, source: Source) -> ProblemStream:
    import datasets  # noqa: PLC0415 - slow to import, and not needed for a folder

    try:
        builder = datasets.load_dataset_builder(source.hub, source.subset, revision=source.revision)
        builder.download_and_prepare()
        rows = builder.as_dataset(split=source.split)
    except Exception as error:
        raise DataError(
            f"{name}: cannot load {source.hub} (split {source.split}, revision {source.revision})"
            f" from the hub: {' '.join(str(error).split())}; a folder of data files can be named"
            " instead"
        ) from error
    commit = builder.hash if re.fullmatch("[0-9a-f]{40}", str(builder.hash)) else None
    origin = {"hub": source.hub, "subset": source.subset, "split": source.split, "revision": commit}
    tables = rows.with_format("arrow").iter(batch_size=1024)
    cells = enumerate(chain.from_iterable(table.to_pylist() for table in tables))
    problems = (
        Problem(f"{name}/{i}", *problem_and_gold(f"{source.hub}, row {i}", row, source))
        for i, row in cells
    )
    return ProblemStream(name, f"{name} ({source.hub})", origin, problems, source)
