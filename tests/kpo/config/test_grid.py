"""Rows that stand for many, and rows that are trained otherwise than the others."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kpo.config.experiments import SCRATCH, Tree, changed, load, refusal

CLIPS = {
    "narrow": {"clip_low": 3e-4, "clip_high": 4e-4},
    "wide": {"clip_low": 0.2, "clip_high": 0.25},
}


def gspo(grid: Any, **row: Any) -> Tree:
    """SCRATCH with a row that has a grid."""
    return changed(
        SCRATCH, "methods/gspo", {"objective": "gspo", "label": "GSPO", **row, "grid": grid}
    )


def test_a_row_for_each_combination_in_its_place(tmp_path: Path) -> None:
    tree = gspo({"train.lr": [5e-5, 1.5e-4], "clip": CLIPS}, train={"staleness": 1})
    experiment = load(tmp_path, yaml.safe_dump(tree, sort_keys=False))
    names = ["gspo-5e-5-narrow", "gspo-5e-5-wide", "gspo-0.00015-narrow", "gspo-0.00015-wide"]
    assert [*experiment.methods] == ["grpo", "kpo", *names]
    row = experiment.methods["gspo-5e-5-wide"]
    assert (row.label, row.family) == ("GSPO, lr 5e-5, clip wide", "gspo")
    assert row.at == {"train.lr": "5e-5", "clip": "wide"}
    assert row.settings == CLIPS["wide"]
    assert row.train == {"lr": 5e-5, "staleness": 1}
    assert experiment.methods["grpo"].family is None


def test_a_value_may_be_none_or_a_word(tmp_path: Path) -> None:
    grid = {"saturate": [None, 3.0], "start": ["known", "diffuse"]}
    tree = changed(
        SCRATCH, "methods/kpo", {"objective": "kpo", "label": "K", "q": 1e-6, "grid": grid}
    )
    found = load(tmp_path, yaml.safe_dump(tree, sort_keys=False)).methods
    assert [*found][1:3] == ["kpo-none-known", "kpo-none-diffuse"]
    assert found["kpo-none-known"].settings == {"q": 1e-6, "saturate": None, "start": "known"}


@pytest.mark.parametrize(
    ("grid", "row", "fault"),
    [
        ([1], {}, "gspo.grid must be a mapping of axes to values"),
        ({}, {}, "gspo.grid must be a mapping of axes to values"),
        (
            {"clip_low": 0.1},
            {},
            "gspo.grid.clip_low must be a list of values, or a mapping of names",
        ),
        (
            {"clip_low": []},
            {},
            "gspo.grid.clip_low must be a list of values, or a mapping of names",
        ),
        ({"clip": {"a": 1}}, {}, "gspo.grid.clip must be a list of values, or a mapping of names"),
        ({"clip_low": [0.1, 0.1]}, {}, "gspo.grid.clip_low must not repeat a value"),
        ({"clip_low": [0.1]}, {"clip_low": 0.2}, "gspo: clip_low stands both in grid.clip_low and"),
        (
            {"train.lr": [0.1]},
            {"train": {"lr": 1.0}},
            "gspo: train.lr stands both in grid.train.lr",
        ),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(
    tmp_path: Path, grid: Any, row: Tree, fault: str
) -> None:
    assert refusal(tmp_path, gspo(grid, **row))[0].startswith(f"methods: {fault}")


def test_two_rows_of_one_name_are_refused(tmp_path: Path) -> None:
    tree = changed(
        gspo({"clip_low": [0.1]}), "methods/gspo-0.1", {"objective": "grpo", "label": "x"}
    )
    assert refusal(tmp_path, tree) == [
        "methods: two rows are called 'gspo-0.1'; rename one of them"
    ]


def test_what_a_row_has_otherwise_is_of_its_own_runs_alone(tmp_path: Path) -> None:
    experiment = load(tmp_path, changed(SCRATCH, "methods/kpo/train", {"lr": 0.5, "passes": 3}))
    assert (experiment.train_of("kpo").lr, experiment.train_of("kpo").updates) == (0.5, 12)
    assert experiment.train_of("grpo") == experiment.train == experiment.only("grpo").train
    own = experiment.only("kpo")
    assert ([*own.methods], own.train) == (["kpo"], experiment.train_of("kpo"))
    assert experiment.section("train", "kpo")["train"]["lr"] == 0.5
    assert experiment.section("train", "grpo")["train"]["lr"] == SCRATCH["train"]["lr"]


@pytest.mark.parametrize(
    ("train", "fault"),
    [
        ({"prompts": 4}, "methods.kpo.train is {'prompts': 4}, but must hold no other keys than"),
        ({"lr": -1.0}, "methods.kpo.train.lr is -1.0, but must be greater than 0"),
        ({"mini_batches": 3}, "methods.kpo.train: mini_batches (3) must divide prompts (8)"),
        ({"staleness": 2}, "methods.kpo.train: staleness (2) must be less than steps (2)"),
    ],
)
def test_what_no_run_can_have_is_refused_with_its_row(
    tmp_path: Path, train: Tree, fault: str
) -> None:
    assert refusal(tmp_path, changed(SCRATCH, "methods/kpo/train", train))[0].startswith(fault)
