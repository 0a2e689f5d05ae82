"""From runs to the tables of an experiment."""

SHEETS = (
    *("table1.csv", "differences.csv", "aggregates.csv", "diagnostics.csv"),
    *("training.csv", "grid.csv", "scores.csv", "curves.csv"),
)
DOCUMENTS = ("table1.md", "table1.tex")
FILES = (*SHEETS, *DOCUMENTS)
"""All that `python -m evals.tables` writes."""
