"""One's own rows beside stored ones: an experiment that is cut in two says what it said whole."""

import re
import shutil
from pathlib import Path

import pytest

from kpo.evals.sharing.beside import THEIRS, beside
from kpo.evals.sharing.stored import read
from kpo.evals.table.data import Comparison
from tests.evals.demo import make, rewarded, table_of
from tests.evals.sharing.halves import OWN, STORED, compared, grids, halves, kept, lines, note, part


def found(mine: Path, theirs: Path, *against: str) -> dict[tuple[str, str, str, str], Comparison]:
    got = beside(read(mine, "mine"), read(theirs, "theirs"), against).grid.comparisons
    return {(c.row, c.reference.removeprefix(THEIRS), c.metric, c.column): c for c in got}


def figures(c: Comparison) -> tuple[float, ...]:
    return c.difference.mean, c.difference.low, c.difference.high, c.p, c.detectable


def test_differences_are_those_of_the_whole_experiment(root: Path) -> None:
    rewarded(root, "kpo-unclipped-s1", [0.5, *[0.1] * 5])  # collapsed, so pooled by itself
    got = found(*halves(root))
    whole = {(c.row, c.reference, c.metric, c.column): c for c in table_of(root).comparisons}
    places = [
        (row, reference, metric, column)
        for row in OWN
        for reference in (*STORED, "base")
        for metric in ("avg", "pass")
        for column in ("aime24", "gsm8k", "overall")
    ]
    assert sorted(got) == sorted(places)
    for place in places:
        one, other = got[place], whole[place]
        assert figures(one) == pytest.approx(figures(other), abs=1e-12)


def test_cells_and_settings_are_those_of_the_tables(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = halves(root)
    make(root)
    grid, _, *_ = grids((root / "out/table1.md").read_text())
    got, differences = grids(compared(capsys, mine, theirs))
    assert list(got) == [
        *("Base model", "KPO-clipped", "KPO-unclipped"),
        *("GRPO, stored", "GS_PO & co \\| 100%, stored"),
    ]
    for label, cells in got.items():
        before = grid[label.removesuffix(", stored")]
        assert {k: c.rstrip(" ≈") for k, c in cells.items()} == {
            k: c.rstrip(" ≈") for k, c in before.items()
        }
    assert list(differences) == ["KPO-clipped", "KPO-unclipped"]
    assert list(differences["KPO-clipped"]) == [
        *("minus Base model", "minus GRPO, stored", "minus GS_PO & co \\| 100%, stored")
    ]


def test_fewer_references_are_corrected_for_fewer_pairs(root: Path) -> None:
    mine, theirs = halves(root)
    few, all_of_them = found(mine, theirs, "grpo"), found(mine, theirs)
    assert {reference for _, reference, *_ in few} == {"grpo"}
    assert all(few[place].p == all_of_them[place].p for place in few)
    assert all(few[place].p_holm <= all_of_them[place].p_holm for place in few)
    assert any(few[place].p_holm < all_of_them[place].p_holm for place in few)


def test_rows_of_the_same_weights_are_one_row(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = part(root, "mine", ["grpo", *OWN])
    text = compared(capsys, mine, kept(root))
    grid, differences = grids(text)
    assert [label for label in grid if label.startswith("GRPO")] == ["GRPO, stored"]
    assert list(differences) == ["KPO-clipped", "KPO-unclipped"]
    assert "The same weights in both, so shown once, as stored: Base model, GRPO." in text
    note(mine, "evals", "grpo-s1", model="trained again")
    grid, differences = grids(compared(capsys, mine, root / "kept"))
    assert [label for label in grid if label.startswith("GRPO")] == ["GRPO", "GRPO, stored"]
    assert list(differences) == ["GRPO", "KPO-clipped", "KPO-unclipped"]


def test_only_seeds_that_both_have_are_paired(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = part(root, "mine", OWN, seeds=[2, 1])
    theirs = kept(root)
    text = compared(capsys, mine, theirs)
    assert "Differences are of the training seeds in both, 2, 1; cells of all." in text
    alone = part(root, "alone", [*STORED, *OWN], seeds=[2, 1])
    expected = {
        (c["name"], c["reference"], c["metric"][:-2], c["benchmark"]): c
        for c in lines(alone / "differences.csv")
    }
    for place, one in found(mine, theirs).items():
        told = [float(expected[place][name]) for name in ("difference", "low", "high")]
        cell = one.difference
        shares = [100 * share for share in (cell.mean, cell.low, cell.high)]
        assert shares == pytest.approx(told, abs=0.0051)


def test_without_a_common_seed_there_are_no_differences(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in [*(root / "results/demo").glob("*/kpo-*-s0")]:
        shutil.copytree(path, path.with_name(path.name.replace("-s0", "-s7")))
    text = compared(capsys, part(root, "mine", OWN, seeds=[7]), kept(root))
    assert "No differences: no training seed is in both (7 in " in text
    assert len(grids(text)) == 1


def numbers(grid: dict[str, dict[str, str]]) -> list[float]:
    cells = [cell for row in grid.values() for cell in row.values()]
    return [float(text) for text in re.findall(r"[0-9]+\.?[0-9]*", " ".join(cells))]


@pytest.mark.parametrize("sheet", ["scores.csv", "training.csv"])
def test_without_scores_of_problems_rows_stand_side_by_side(
    root: Path, capsys: pytest.CaptureFixture[str], sheet: str
) -> None:
    mine, theirs = halves(root)
    before = grids(compared(capsys, mine, theirs))[0]
    (theirs / sheet).unlink()
    text = compared(capsys, mine, theirs)
    (grid,) = grids(text)
    assert f"No differences: {theirs} has no scores.csv and training.csv" in text
    assert list(grid) == list(before)
    assert numbers(grid) == pytest.approx(numbers(before), abs=0.101)  # some rounded twice


def test_what_a_row_trains_otherwise_is_told(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = halves(root)
    note(mine, "runs", "kpo-clipped-*", settings={"train": {"lr": 5e-6}})
    grid, _ = grids(compared(capsys, mine, theirs))
    told = {label: cells["Settings"].rpartition("lr ")[2] for label, cells in grid.items()}
    assert told["KPO-clipped"] == "5e-6"
    assert told["GRPO, stored"] == "1e-6"
    assert "lr" not in grid["Base model"]["Settings"]
