"""Cells, settings and differences of the tables in CSV: against counts by hand."""

import csv
from pathlib import Path

import pytest

from kpo.evals.table.documents import latex, markdown
from kpo.evals.table.sheets import csv_files
from tests.evals.demo import (
    FILES,
    PROBLEMS,
    SKILL,
    change,
    make,
    read_rows,
    records,
    table_of,
    write_rows,
)


def test_cells_are_the_counts_of_the_grades(root: Path) -> None:
    make(root)
    found = records(root / "out" / "table1.csv")
    for name in SKILL:
        runs = ["base"] if name == "base" else [f"{name}-s{seed}" for seed in range(3)]
        graded = [read_rows(root / f"results/demo/evals/{run}/grades.jsonl") for run in runs]
        means: dict[str, list[float]] = {"avg": [], "pass": []}
        for benchmark, count in PROBLEMS.items():
            mine = [[row for row in rows if row["benchmark"] == benchmark] for rows in graded]
            right = sum(row["correct"] for rows in mine for row in rows)
            solved = sum(len({row["id"] for row in rows if row["correct"]}) for rows in mine)
            means["avg"].append(100 * right / (4 * count * len(runs)))
            means["pass"].append(100 * solved / (count * len(runs)))
            for metric, values in means.items():
                assert found[name][f"{benchmark}_{metric}@4"] == f"{values[-1]:.2f}"
        for metric, values in means.items():
            assert found[name][f"overall_{metric}@4"] == f"{sum(values) / 2:.2f}"


def test_rows_and_columns_of_the_table(root: Path) -> None:
    make(root)
    text = (root / "out" / "table1.csv").read_text()
    header = text.splitlines()[0].split(",")
    cells = [f"{b}_{m}@4" for b in ("aime24", "gsm8k", "overall") for m in ("avg", "pass")]
    filters = ["start", "direction", "saturate"]
    settings = ["q", "memory", "clip_low", "clip_high", *filters, "seeds"]
    expected = ["method", "name", "objective", *settings]
    assert header == [*expected, *(f"{c}{end}" for c in cells for end in ("", "_low", "_high"))]
    found = records(root / "out" / "table1.csv")
    assert list(found) == list(SKILL)
    assert found["base"]["method"] == "Base model"
    stated = {name: [row[key] for key in settings] for name, row in found.items()}
    assert stated["base"] == [""] * 8
    assert stated["grpo"] == ["", "", "0.2", "0.2", "", "", "", "0 1 2"]
    assert stated["kpo-clipped"] == [
        *("0.00757576", "12", "0.0003", "0.0004"),
        *("known", "causal", "", "0 1 2"),
    ]
    assert stated["kpo-unclipped"] == [
        *("0.0001", "100.501", "", ""),
        *("known", "causal", "", "0 1 2"),
    ]
    for row in found.values():
        for cell in cells:
            assert float(row[f"{cell}_low"]) <= float(row[cell]) <= float(row[f"{cell}_high"])


def test_the_same_grades_give_the_same_bytes_in_any_order(root: Path) -> None:
    make(root, "first")
    for path in root.glob("results/demo/evals/gspo-*/grades.jsonl"):
        rows = read_rows(path)
        write_rows(path, rows[::-1])
    make(root, "second")
    assert sorted(path.name for path in (root / "first").iterdir()) == FILES
    for name in FILES:
        assert (root / "first" / name).read_bytes() == (root / "second" / name).read_bytes()


def test_diagnostics_count_every_response(root: Path) -> None:
    make(root)
    with (root / "out" / "diagnostics.csv").open() as file:
        found = {(row["name"], row["benchmark"]): row for row in csv.DictReader(file)}
    assert len(found) == len(SKILL) * len(PROBLEMS)
    graded = [read_rows(root / f"results/demo/evals/gspo-s{s}/grades.jsonl") for s in range(3)]
    mine = [row for rows in graded for row in rows if row["benchmark"] == "gsm8k"]
    failed = 100 * sum(row["status"] == "no_answer" for row in mine) / len(mine)
    row = found["gspo", "gsm8k"]
    assert row["responses"] == str(9 * 4 * 3)
    assert row["mean_tokens"] == "11.50"
    assert row["truncated_%"] == row["no_answer_%"] == f"{failed:.2f}"
    assert row["timeout_%"] == row["error_%"] == "0.00"


def test_differences_are_those_of_the_pairs_by_hand(root: Path) -> None:
    make(root)
    with (root / "out" / "differences.csv").open() as file:
        found = list(csv.DictReader(file))
    against = {(row["name"], row["reference"]): row["against"] for row in found}
    assert (
        against
        == {  # GSPO is the best baseline
            **dict.fromkeys([(row, "grpo") for row in list(SKILL)[2:]], "first baseline"),
            **dict.fromkeys(
                [(row, "gspo") for row in list(SKILL)[1:] if row != "gspo"], "best baseline"
            ),
            **dict.fromkeys([(row, "base") for row in list(SKILL)[1:]], "base model"),
        }
    )
    assert len(found) == (3 + 3 + 4) * 3 * 2  # pairs, columns, metrics
    table = records(root / "out" / "table1.csv")
    for row in found:
        column = f"{row['benchmark']}_{row['metric']}"
        difference = float(table[row["name"]][column]) - float(table[row["reference"]][column])
        assert float(row["difference"]) == pytest.approx(difference, abs=0.011)
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
        assert float(row["p_holm"]) >= float(row["p"])
        different = "higher" if difference > 0 else "lower"
        verdict = different if float(row["p_holm"]) <= 0.05 else "inside the noise"
        assert row["verdict"] == verdict
    verdicts = {
        (row["name"], row["against"]): row["verdict"]
        for row in found
        if (row["benchmark"], row["metric"]) == ("overall", "avg@4")
    }
    assert verdicts["kpo-unclipped", "best baseline"] == "lower"
    assert verdicts["gspo", "first baseline"] == "higher"
    assert verdicts["kpo-clipped", "first baseline"] == "inside the noise"
    assert verdicts["kpo-unclipped", "base model"] == "lower"


def test_one_seed_gives_a_table_without_tests(root: Path) -> None:
    change(root, "[0, 1, 2]", "[0]")
    table = table_of(root)
    assert {c.verdict for c in table.comparisons} == {"not tested"}
    assert "One training seed" in markdown(table)
    assert "≈" not in markdown(table)
    rows = list(csv.reader(csv_files(table)["table1.csv"].splitlines()))
    assert all(cell for row in rows[1:] for cell in row[11:])
    assert "nan" not in "".join([*csv_files(table).values(), markdown(table), latex(table)])


def test_rows_without_a_baseline_are_set_against_the_base_model_alone(root: Path) -> None:
    text = (root / "demo.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("  grpo", "  gspo"))]
    (root / "demo.yaml").write_text("\n".join(lines))
    table = table_of(root)
    assert {c.reference for c in table.comparisons} == {"base"}
    assert "≈: the difference to" not in markdown(table)
