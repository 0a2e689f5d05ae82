"""A table as CSV, for programs, and as LaTeX, for a paper; and what all formats share."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from itertools import chain

from evals.grading.statuses import FAILURES
from evals.table.data import Row, Table

NOISE = "inside the noise"
MARK = "≈"
STILL = "‡"
"""Of a row in which a run learnt nothing."""
UNKNOWN = "—"


def percent(share: float, digits: int = 2) -> str:
    """A share in %, empty where unknown."""
    text = "" if math.isnan(share) else f"{100 * share:.{digits}f}"
    return text[1:] if text and float(text) == 0 and text.startswith("-") else text


def number(value: float | None, digits: int = 6) -> str:
    """A setting; empty where there is none. 1e-6, not 1e-06."""
    return "" if value is None else f"{value:.{digits}g}".replace("e-0", "e-")


def csv_files(table: Table) -> dict[str, str]:
    """Text of every CSV file, by name. Shares are in %, differences in points."""
    return {
        "table1.csv": _csv(_table_rows(table)),
        "diagnostics.csv": _csv(_diagnostic_rows(table)),
        "differences.csv": _csv(_difference_rows(table)),
    }


def _csv(rows: Iterable[Sequence[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _table_rows(table: Table) -> Iterable[list[str]]:
    places = [(metric, column) for column in table.columns for metric in ("avg", "pass")]
    names = [f"{column}_{metric}@{table.k}" for metric, column in places]
    limits = [[name, f"{name}_low", f"{name}_high"] for name in names]
    yield ["method", "name", "objective", *Row.SETTINGS, "seeds", *chain(*limits)]
    for row in table.rows:
        settings = [number(row.settings.get(key)) for key in Row.SETTINGS]
        cells = [row.cells[place] for place in places]
        shares = [percent(share) for c in cells for share in (c.mean, c.low, c.high)]
        seeds = " ".join(f"{seed}{STILL * (seed in row.still)}" for seed in row.seeds)
        yield [row.label, row.name, row.objective, *settings, seeds, *shares]


def _diagnostic_rows(table: Table) -> Iterable[list[str]]:
    rates = [f"{name}_%" for name in ("truncated", *FAILURES)]
    others = list(table.rows[0].diagnostics[table.columns[0]].regraded)
    regraded = [f"{n}_{rule}" for rule in others for n in ("points_by", "%_otherwise_by")]
    noise = ["noise_rms", "noise_max", "noise_clip_%"]
    yield ["method", "name", "benchmark", "responses", "mean_tokens", *rates, *regraded, *noise]
    for row in table.rows:
        for benchmark, found in row.diagnostics.items():
            counts = [found.truncated, *(found.failures.get(name, 0) for name in FAILURES)]
            counts += [c for rule in others for c in (found.regraded[rule], found.apart[rule])]
            yield [
                row.label,
                row.name,
                benchmark,
                str(found.responses),
                f"{found.tokens / found.responses:.2f}",
                *(percent(count / found.responses) for count in counts),
                *(number(row.noise.get(name), 2) for name in noise[:2]),
                percent(row.noise.get("noise_clip_fraction", math.nan)),
            ]


def _difference_rows(table: Table) -> Iterable[list[str]]:
    yield [
        *("method", "name", "reference", "against", "benchmark", "metric"),
        *("difference", "low", "high", "detectable", "p", "p_holm", "verdict"),
    ]
    for c in table.comparisons:
        yield [
            *(table.label(c.row), c.row, c.reference, c.against, c.column),
            f"{c.metric}@{table.k}",
            *map(percent, (c.difference.mean, c.difference.low, c.difference.high)),
            percent(c.detectable),
            *("" if math.isnan(p) else f"{p:.2g}" for p in (c.p, c.p_holm)),
            c.verdict,
        ]


def settings_text(row: Row) -> str:
    """A row's settings for readers; a filter by q and by memory in tokens."""
    parts = []
    if (q := row.settings.get("q")) is not None:
        memory = float(number(row.settings.get("memory"), 3))
        parts.append(f"q {number(q, 3)} (memory {memory:.15g} tokens)")
    if row.objective:
        low, high = row.settings.get("clip_low"), row.settings.get("clip_high")
        parts.append("no clip" if low is None else f"clip {number(low, 3)} / {number(high, 3)}")
    return ", ".join(parts) or UNKNOWN


def figures(table: Table, row: Row, column: str, plus_minus: str = "±") -> str:
    """`avg ± half-width / pass`."""
    avg, passed = row.cells["avg", column], row.cells["pass", column]
    width = percent(avg.half_width, 1) or UNKNOWN
    return f"{percent(avg.mean, 1)} {plus_minus} {width} / {percent(passed.mean, 1)}"


def in_noise(table: Table, row: Row, column: str) -> bool:
    """Whether the row's avg@k differs from GRPO's by no more than noise."""
    found = table.against(table.grpo, "avg", column)
    return any(c.row == row.name and c.verdict == NOISE for c in found)


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    STILL: r"\ddag{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def escape(text: str) -> str:
    """Text for LaTeX."""
    return "".join(_ESCAPES.get(char, char) for char in text)


def latex(table: Table) -> str:
    """The table with booktabs rules; a dagger marks what `MARK` marks in Markdown."""
    columns = "".join("r" for _ in table.columns)
    header = " & ".join(escape(text) for text in ("Method", "Settings", *table.columns))
    lines = []
    for row in table.rows:
        cells = [escape(row.label), escape(settings_text(row)).replace(UNKNOWN, "--")]
        for column in table.columns:
            mark = r"$^{\dagger}$" if in_noise(table, row, column) else ""
            mark += r"$^{\ddagger}$" if row.still else ""
            cells.append(figures(table, row, column, r"$\pm$").replace(UNKNOWN, "--") + mark)
        lines.append(" & ".join(cells) + r" \\")
    caption = (
        f"{escape(table.experiment)}: avg@{table.k} $\\pm$ half the width of its 95\\,\\%"
        f" interval / pass@{table.k}, in \\%."
    )
    if table.grpo and len(table.seeds) > 1:
        caption += (
            f" $^{{\\dagger}}$The difference to {escape(table.label(table.grpo))} is {NOISE}."
        )
    caption += "".join(f" {escape(note)}" for note in table.notes)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{ll{columns}}}",
            r"\toprule",
            header + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
