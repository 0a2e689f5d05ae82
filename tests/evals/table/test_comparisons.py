"""What a table compares: what is declared, and Holm's correction over just that."""

import csv
from pathlib import Path

import pytest

from kpo.evals.statistics.differences import holm
from kpo.evals.table.data import OVERALL
from kpo.evals.table.documents import latex, markdown
from tests.evals.demo import change, differences, make, table_of

CLIPPED, UNCLIPPED = "label: KPO-clipped, objective: kpo,", "label: KPO-unclipped, objective: kpo,"


def declare(root: Path, *entries: str) -> None:
    path = root / "demo.yaml"
    path.write_text(path.read_text() + "compare: [" + ", ".join(entries) + "]\n")


def pairs(root: Path) -> set[tuple[str, str]]:
    return {(c.row, c.reference) for c in table_of(root).comparisons}


def test_a_proposed_row_is_set_against_its_own_control(root: Path) -> None:
    change(root, CLIPPED, f"{CLIPPED} control: [gspo, kpo-unclipped],")
    make(root)
    with (root / "out" / "differences.csv").open() as file:
        (row,) = (
            row
            for row in csv.DictReader(file)
            if (row["name"], row["reference"]) == ("kpo-clipped", "kpo-unclipped")
            and (row["benchmark"], row["metric"]) == ("overall", "avg@4")
        )
    assert (row["against"], row["verdict"]) == ("control", "higher")
    points = (
        f"{float(row['difference']):+.1f} ({float(row['low']):+.1f} to {float(row['high']):+.1f})"
    )
    grid = differences(root)
    assert grid["KPO-clipped"]["KPO-unclipped"] == points
    assert grid["KPO-unclipped"]["KPO-unclipped"] == "—"
    assert {c.against for c in table_of(root).comparisons if c.row == "kpo-clipped"} == {
        ("first baseline",),
        ("best baseline", "control"),
        ("control",),
        ("base model",),
    }


def test_proposed_rows_are_set_against_rows_of_role_control_unless_they_name_one(
    root: Path,
) -> None:
    change(root, UNCLIPPED, f"{UNCLIPPED} role: control,")
    assert ("kpo-clipped", "kpo-unclipped") in pairs(root)
    assert ("grpo", "kpo-unclipped") not in pairs(root)
    change(root, CLIPPED, f"{CLIPPED} control: gspo,")
    assert ("kpo-clipped", "kpo-unclipped") not in pairs(root)


def test_what_is_declared_is_all_that_is_compared(root: Path) -> None:
    declare(root, "{rows: kpo-clipped, against: [kpo-unclipped, base]}")
    assert pairs(root) == {("kpo-clipped", "kpo-unclipped"), ("kpo-clipped", "base")}
    text = markdown(table_of(root))
    assert "the 2 pairs that the experiment file declares" in text
    assert "≈:" not in text.split("## ")[0]
    assert "Minimum detectable" not in text
    assert r"\dagger" not in latex(table_of(root))


def test_holm_counts_every_declared_pair_once(root: Path) -> None:
    declare(root, "{rows: [proposed, gspo], against: [grpo, best]}", "{rows: grpo, against: gspo}")
    found = table_of(root).comparisons
    for metric in ("avg", "pass"):
        for family in ([OVERALL], ["aime24", "gsm8k"]):
            lines = [c for c in found if c.metric == metric and c.column in family]
            p = {(c.column, frozenset((c.row, c.reference))): c.p for c in lines}
            assert len(p) == 5 * len(family)  # two rows against two baselines, and these two
            wanted = dict(zip(p, holm([*p.values()]), strict=True))
            for c in lines:
                expected = wanted[c.column, frozenset((c.row, c.reference))]
                assert c.p_holm == pytest.approx(expected)


def test_looking_at_the_best_baseline_is_paid_for_as_looking_at_all(root: Path) -> None:
    declare(root, "{rows: proposed, against: best}")
    best = {(c.row, c.reference, c.metric, c.column): c.p_holm for c in table_of(root).comparisons}
    change(root, "against: best", "against: [grpo, gspo]")
    every = {(c.row, c.reference, c.metric, c.column): c.p_holm for c in table_of(root).comparisons}
    assert best == every


def test_two_baselines_are_told_once_the_best_as_the_reference(root: Path) -> None:
    change(root, UNCLIPPED, f"{UNCLIPPED} role: baseline,")
    change(root, CLIPPED, f"{CLIPPED} role: baseline,")
    declare(root, "{rows: all, against: best}")
    told = [*dict.fromkeys((c.row, c.reference) for c in table_of(root).comparisons)]
    others = ("grpo", "kpo-clipped", "kpo-unclipped")
    assert {pair for pair in told if "gspo" in pair} == {(other, "gspo") for other in others}
    assert len(told) == len({frozenset(pair) for pair in told}) == 6  # of four rows


def test_rows_that_are_not_set_against_the_first_baseline_are_named(root: Path) -> None:
    assert "Not set against it" not in markdown(table_of(root))
    declare(root, "{rows: proposed, against: first}")
    text = markdown(table_of(root))
    assert "Not set against it: Base model, GS_PO & co | 100%." in text
    rows = {line.split(" | ")[0][2:].strip(): line for line in text.splitlines() if line[:1] == "|"}
    assert "≈" not in rows["Base model"]


def test_a_row_of_a_grid_is_set_against_the_grid_it_names_at_its_own_place(root: Path) -> None:
    grid = "grid: {clip: {narrow: {clip_low: 3e-4}}}"
    change(root, "objective: gspo, clip_low: 3e-4", f"objective: gspo, {grid}")
    change(
        root,
        f"{CLIPPED} memory: 12, clip_low: 3e-4",
        f"{CLIPPED} memory: 12, control: gspo, {grid}",
    )
    for name in ("gspo", "kpo-clipped"):
        for path in [*root.glob(f"results/demo/*/{name}-s*/manifest.json")]:
            path.write_text(path.read_text().replace(f'"{name}-s', f'"{name}-narrow-s'))
            path.parent.rename(path.parents[1] / path.parent.name.replace("-s", "-narrow-s"))
    declare(root, "{rows: all, against: [control, first]}")
    found = differences(root)
    assert set(found) == {"KPO-clipped, clip narrow", "KPO-unclipped"}
    assert list(found["KPO-unclipped"]) == ["gspo at its place", "GRPO"]
    assert found["KPO-unclipped"]["gspo at its place"] == "—"
    change(root, "[control, first]", "[control, best]")
    row = differences(root)["KPO-clipped, clip narrow"]
    assert row["gspo at its place"] == row["GS_PO & co \\| 100%, clip narrow, best"]  # both
