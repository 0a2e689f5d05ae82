"""Forest plot: every declared difference of avg@k overall, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import UserError
from kpo.evals.figures.data import read_rows, value
from kpo.evals.figures.drawing import SMALL, drawn, legend_below, point

NOISE = "inside the noise"
OVERALL = "overall"
WANTED = (
    *("method", "name", "reference", "benchmark", "metric"),
    *("difference", "low", "high", "verdict"),
)


def draw_forest(path: Path, out: Sequence[Path]) -> None:
    """Rows of differences.csv by reference; filled where Holm's test says higher or lower.

    Raises UserError where nothing is compared.
    """
    rows = [
        row
        for row in read_rows(path, WANTED)
        if row["benchmark"] == OVERALL and row["metric"].startswith("avg@")
    ]
    if not rows:
        raise UserError(f"{path}: has no difference of avg@k overall")
    references = dict.fromkeys(row["reference"] for row in rows)
    names = {"base": "the base model", **{row["name"]: row["method"] for row in rows}}
    of = {reference: [r for r in rows if r["reference"] == reference] for reference in references}
    ratios = [len(own) + 0.6 for own in of.values()]
    height = 0.9 + sum(0.19 * ratio + 0.22 for ratio in ratios)
    with drawn(out, 7.0, height, len(of), sharex=True, height_ratios=ratios) as panels:
        for (reference, own), [axes] in zip(of.items(), panels, strict=True):
            axes.axvline(0, color="black", linewidth=1)
            for y, row in enumerate(own):
                noise = row["verdict"] == NOISE
                fill, told = ("white", NOISE) if noise else ("black", "higher or lower")
                ends = value(row["difference"]), value(row["low"]), value(row["high"])
                point(axes, y, ends, markerfacecolor=fill, label=told)
            axes.set_yticks(range(len(own)), [row["method"] for row in own], fontsize=SMALL + 1)
            axes.set_ylim(len(own) - 0.4, -0.6)
            title = f"minus {names.get(reference, reference)}"
            axes.set_title(title, loc="left", fontsize=9)
        panels[-1][0].set_xlabel(f"difference of {rows[0]['metric']} {OVERALL} [points], 95 %")
        legend_below(panels)
