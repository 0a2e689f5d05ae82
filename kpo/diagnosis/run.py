"""From a dump to its figures, from files to files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from kpo.common.cli import warn
from kpo.common.files import write_text
from kpo.common.text import records_text
from kpo.diagnosis.columns import find_columns
from kpo.diagnosis.figures import diagnose
from kpo.diagnosis.reading import open_dump
from kpo.diagnosis.report import lines
from kpo.diagnosis.responses import Response, responses
from kpo.diagnosis.survey import survey
from kpo.objective import Objective


def run(
    place: Path, given: Mapping[str, str], methods: Mapping[str, Objective], out: Path | None
) -> None:
    """Look into a dump and say what was found; `given` are columns by role.

    Raises UserError for the first thing that is wrong with it.
    """
    dump = open_dump(place)
    columns = find_columns(str(dump.files[0]), dump.columns, given)
    print(f"{place}: " + ", ".join(f"{name} is {role}" for role, name in columns.by_role.items()))
    known = survey(dump, columns)
    uneven: list[str] = []

    def watched() -> Iterator[Response]:
        for one in responses(dump, columns, known, texts=False):
            uneven.extend([one.where] * one.uneven)
            yield one

    found = diagnose(tqdm(watched(), "responses", known.rows, file=sys.stderr), methods)
    if uneven:
        warn(
            f"{len(uneven):,} of {known.rows:,} responses have advantages that differ from token to"
            f" token, the first is {uneven[0]}; objectives here take one a response: their mean"
        )
    for one in found:
        print("", *lines(one), sep="\n")
    if out is not None:
        write_text(out, records_text([row for one in found for row in one.records()]))
