"""Drawing: matplotlib, as PNG and SVG by the files' names, legible in black and white.

What lines stand for is told by their style and marker; colours only help, and are of different
lightness. The same data give the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from kpo.evals.figures.data import Limits

mpl.use("Agg")
mpl.rcParams.update({"font.size": 9, "svg.hashsalt": "kpo", "axes.spines.top": False})
mpl.rcParams.update({"axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3})
mpl.rcParams.update({"axes.axisbelow": True, "legend.handlelength": 3.0})
WIDTH = 8.0
"""Inches."""
DPI, COLOURS = 130, 64
SMALL = 7
"""Points, of what is written beside the data."""
SHADE = 0.18
"""Opacity of an interval."""
_LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
_MARKERS = "osD^vPX"
_COLOURS = ("#000000", "#0b559f", "#b3451a", "#5d8a1f", "#9a6fb0", "#888888")


def style(place: int) -> dict[str, Any]:
    """How the line of that place is drawn: no two of the first 42 alike, nor the first 6 in any."""
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "linestyle": _LINES[place % len(_LINES)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markerfacecolor": "white",
        "markersize": 4,
        "linewidth": 1.2,
    }


@contextmanager
def drawn(
    out: Sequence[Path], width: float, height: float, rows: int = 1, columns: int = 1, **share: Any
) -> Iterator[list[list[Axes]]]:
    """Axes [rows][columns], in the end saved to every file of `out`, .png or .svg; inches.

    Args:
        share: of `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure.subplots(rows, columns, squeeze=False, **share).tolist()
    for path in out:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, or as PNG of few colours, which takes a quarter of the room."""
    if path.suffix == ".svg":
        figure.savefig(path, metadata={"Date": None})
        return
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png", dpi=DPI)
    colours = Image.open(drawing).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    colours.save(path, optimize=True)


def line(
    axes: Axes,
    curve: Iterable[tuple[float, Limits]],
    place: int,
    label: str | None = None,
    *,
    marked: bool = True,
) -> None:
    """A line in the style of a place, its interval shaded; without markers unless `marked`."""
    points = list(curve)
    x = [x for x, _ in points]
    mean, low, high = np.array([limits for _, limits in points]).reshape(-1, 3).T
    look = style(place) | ({} if marked else {"marker": ""})
    axes.plot(x, mean, label=label, **look)
    axes.fill_between(x, low, high, color=look["color"], alpha=SHADE, linewidth=0)


def point(axes: Axes, y: float, limits: Limits, **look: Any) -> None:
    """A mean and its interval, lying down; limits that are nan are left out."""
    mean, low, high = limits
    usual: dict[str, Any] = {
        "color": "black",
        "marker": "o",
        "markersize": 4,
        "capsize": 2,
        "linestyle": "",
    }
    errors = None if math.isnan(low) else [[max(mean - low, 0)], [max(high - mean, 0)]]
    axes.errorbar(mean, y, xerr=errors, **(usual | {"linestyle": "", "elinewidth": 0.8} | look))


def legend_below(panels: Sequence[Sequence[Axes]], columns: int = 3, **more: Any) -> None:
    """One legend below all panels, each label once, where there is any."""
    found: dict[str, Any] = {}
    for axes in (axes for across in panels for axes in across):
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found and (figure := panels[0][0].get_figure(root=True)):
        columns = min(columns, len(found))
        more |= {"fontsize": SMALL + 1, "title_fontsize": SMALL + 1, "frameon": False}
        handles, labels = list(found.values()), list(found)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, **more)
