"""From a dump to its figures, from files to files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from kpo.common.cli import warn
from kpo.common.files import write_text
from kpo.common.text import records_text
from kpo.diagnosis.columns import find_columns
from kpo.diagnosis.figures import diagnose
from kpo.diagnosis.gallery import Gallery
from kpo.diagnosis.page import page
from kpo.diagnosis.reading import open_dump
from kpo.diagnosis.report import lines
from kpo.diagnosis.responses import Response, responses
from kpo.diagnosis.survey import survey
from kpo.objective import Objective


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        given: columns by role.
        methods: objectives by name.
        out, html: files to write, or None.
    """

    given: Mapping[str, str]
    methods: Mapping[str, Objective]
    out: Path | None
    html: Path | None


def run(place: Path, asked: Asked) -> None:
    """Look into a dump and say what was found. Raises UserError for the first fault of it."""
    dump = open_dump(place)
    columns = find_columns(str(dump.files[0]), dump.columns, asked.given)
    print(f"{place}: " + ", ".join(f"{name} is {role}" for role, name in columns.by_role.items()))
    known = survey(dump, columns)
    gallery, uneven = Gallery(), list[str]()

    def watched() -> Iterator[Response]:
        for one in responses(dump, columns, known, texts=asked.html is not None):
            uneven.extend([one.where] * one.uneven)
            if asked.html is not None:
                gallery.add(one)
            yield one

    rows = tqdm(watched(), "responses", known.rows, file=sys.stderr)
    found = diagnose(rows, asked.methods)
    if uneven:
        warn(
            f"{len(uneven):,} responses have advantages that differ from token to token, the first"
            f" is {uneven[0]}; objectives here take one a response: their mean"
        )
    if asked.out is not None:
        write_text(asked.out, records_text([row for one in found for row in one.records()]))
    if asked.html is not None:
        write_text(asked.html, page(place, columns.by_role, found, gallery, asked.methods))
    for one in found:
        print("", *lines(one), sep="\n")
