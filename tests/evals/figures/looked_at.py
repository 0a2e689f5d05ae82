"""What stands in a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D


def xs(line: Line2D) -> list[float]:
    """Of a line's points."""
    return [float(x) for x in np.asarray(line.get_xdata(), dtype=np.float64)]


def ys(line: Line2D) -> list[float]:
    """Of a line's points."""
    return [float(y) for y in np.asarray(line.get_ydata(), dtype=np.float64)]


def legend(figure: Figure) -> list[str]:
    """The labels below."""
    return [text.get_text() for text in figure.legends[0].get_texts()]
