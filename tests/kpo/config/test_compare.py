"""Declared comparisons: what words and names stand for, and what is refused before any work."""

from pathlib import Path
from typing import Any

import pytest

from tests.kpo.config.experiments import SCRATCH, changed, load, refusal

METHODS = {
    "clip": {"label": "clip", "objective": "token_clipped"},  # a control
    "grpo": {"label": "grpo", "objective": "grpo"},
    "gspo": {"label": "gspo", "objective": "gspo", "grid": {"train.lr": [1e-4, 2e-4]}},
    "kpo": {
        "label": "kpo",
        "objective": "kpo",
        "grid": {"memory": [4, 9], "train.lr": [1e-4, 2e-4]},
    },
}
ROWS = "clip grpo gspo-0.0001 gspo-0.0002 kpo-4-0.0001 kpo-9-0.0001 kpo-4-0.0002 kpo-9-0.0002"
BASELINES = {"grpo", "gspo-0.0001", "gspo-0.0002"}
PROPOSED = set(ROWS.split()[4:])
TREE = changed(SCRATCH, "methods", METHODS)
Pairs = set[tuple[str, str]]


def compared(folder: Path, *entries: Any, tree: dict[str, Any] = TREE) -> Pairs:
    return set(load(folder, changed(tree, "compare", list(entries))).compared)


def product(rows: Any, references: Any) -> Pairs:
    return {(row, reference) for row in rows for reference in references if row != reference}


def test_a_file_that_says_nothing_declares_what_matters(tmp_path: Path) -> None:
    found = load(tmp_path, TREE).compared
    rows = ROWS.split()
    expected = product(rows, {"base", *BASELINES}) | product(PROPOSED, ["clip"])
    assert set(found) == expected
    assert found["clip", "grpo"] == ("first", "best")
    assert found["kpo-4-0.0001", "gspo-0.0002"] == ("best",)


@pytest.mark.parametrize(
    ("rows", "against", "pairs"),
    [
        ("all", "first", product(ROWS.split(), ["grpo"])),
        ("baseline", ["base", "clip"], product(BASELINES, ["base", "clip"])),
        (["proposed", "clip"], "grpo", product([*PROPOSED, "clip"], ["grpo"])),
        ("grpo", "gspo", product(["grpo"], ["gspo-0.0001", "gspo-0.0002"])),
        (
            "kpo",
            "gspo",
            {(row, f"gspo-{lr}") for row in PROPOSED for lr in ("0.0001", "0.0002") if lr in row},
        ),
        ("gspo-0.0002", "kpo", product(["gspo-0.0002"], ["kpo-4-0.0002", "kpo-9-0.0002"])),
        ("control", ["best"], product(["clip"], BASELINES)),
    ],
)
def test_words_and_names(tmp_path: Path, rows: Any, against: Any, pairs: Pairs) -> None:
    assert compared(tmp_path, {"rows": rows, "against": against}) == pairs


def test_a_control_of_its_own_stands_in_place_of_the_role(tmp_path: Path) -> None:
    entry = {"rows": "all", "against": "control"}
    assert compared(tmp_path, entry) == product(PROPOSED, ["clip"])
    tree = changed(TREE, "methods/kpo/control", ["gspo", "grpo"])
    tree = changed(tree, "methods/grpo/control", "clip")
    expected = product(PROPOSED, ["grpo"]) | {("grpo", "clip")}
    expected |= {(row, f"gspo-{row[6:]}") for row in PROPOSED}
    assert compared(tmp_path, entry, tree=tree) == expected


def test_a_control_changes_tables_and_no_run(tmp_path: Path) -> None:
    one, other = load(tmp_path, TREE), load(tmp_path, changed(TREE, "methods/kpo/control", "clip"))
    row = "kpo-4-0.0001"
    assert one.section("train", row) == other.section("train", row)
    assert one.section("table") != other.section("table")


KNOWN = "clip, grpo, gspo, kpo"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "compare",
            [{"rows": "kpoo", "against": "first"}],
            "compare[0].rows holds 'kpoo', but there are only all, baseline, control, proposed,"
            f" {KNOWN}",
        ),
        (
            "compare",
            [{"rows": "all", "against": "first"}, {"rows": "all", "against": ["base", "gpso"]}],
            "compare[1].against holds 'gpso', but there are only first, best, control, base,"
            f" {KNOWN}",
        ),
        (
            "compare",
            [{"rows": "grpo", "against": "first"}],
            "compare[0] sets grpo against first: there is no pair",
        ),
        (
            "methods/kpo/control",
            "gpso",
            f"methods.kpo.control holds 'gpso', but there are only {KNOWN}",
        ),
        (
            "methods/kpo/grid/train.lr",
            [3e-4],
            "methods.kpo.control holds 'gspo', a grid without a row at memory 4, train.lr 0.0003",
        ),
        (
            "compare",
            [{"row": "all", "against": "first"}],
            "compare[0].row: unknown key (its value is 'all'); allowed: rows, against",
        ),
        ("compare", [{"rows": 3, "against": "x"}], "compare[0].rows is 3, but must be a list"),
        (
            "compare",
            [{"rows": [], "against": "x"}],
            "compare[0].rows is [], but must not be empty",
        ),
    ],
)
def test_refusals(tmp_path: Path, path: str, value: Any, sentence: str) -> None:
    tree = changed(TREE, "methods/kpo/control", "gspo")
    assert sentence in refusal(tmp_path, changed(tree, path, value))


def test_a_row_that_is_called_as_a_word_is_refused_where_the_word_is_used(tmp_path: Path) -> None:
    tree = changed(TREE, "methods/best", {"label": "b", "objective": "reinforce"})
    assert ("kpo-4-0.0001", "best") in load(tmp_path, tree).compared  # one of the baselines
    tree["compare"] = [{"rows": "all", "against": "best"}]
    assert refusal(tmp_path, tree) == [
        "compare[0].against holds 'best', which is also a row; rename the row"
    ]
