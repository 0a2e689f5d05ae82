"""The figures of a dump as one page, with a heat map of some responses; it loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kpo.common.text import number
from kpo.diagnosis.figures import Found
from kpo.diagnosis.gallery import LEVELS, PROMPT, WINDOW, Gallery, Shown, exhibit, filtering, plain
from kpo.diagnosis.report import tables, title
from kpo.objective import Objective


def page(
    place: Path,
    columns: Mapping[str, str],
    found: Sequence[Found],
    gallery: Gallery,
    methods: Mapping[str, Objective],
) -> str:
    """The page's HTML."""
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    name, _ = filtering(methods)
    known: dict[str, Any] = {"number": number, "tables": tables, "title": title, "facts": facts}
    known |= {"plain": plain, "longest": PROMPT}
    return environment.get_template("page.html").render(
        **known,
        place=place,
        columns=columns,
        places=found,
        methods=list(methods),
        method=list(methods).index(name) if name in methods else 0,
        filter=name,
        exhibition=exhibit(gallery, methods),
        rows=f"{gallery.seen:,}",
        seed=gallery.seed,
        window=WINDOW,
        levels=LEVELS,
    )


def facts(one: Shown) -> str:
    """What is known of a response that is shown."""
    response, last = one.response, one.first + len(one.tokens) - 1
    length = len(response.present)
    parts = [f"advantage {number(response.advantages[0], 3)}", f"{length:,} tokens"]
    if len(one.tokens) < length:
        parts.append(f"of which {one.first} to {last}")
    if response.step is not None:
        parts.append(f"step {response.step}")
    return ", ".join([*parts, f"use: {response.use}"])
