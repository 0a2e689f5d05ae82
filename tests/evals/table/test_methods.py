"""Rows as objectives declare them: settings of any name, baselines, controls, proposals."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from kpo.baselines.grpo import GRPO
from kpo.evals.table.documents import latex, markdown
from kpo.evals.table.sheets import csv_files
from kpo.objective import Role
from kpo.registry import OBJECTIVES
from tests.evals.demo import change, differences, make, records, table_of


@dataclass(frozen=True, kw_only=True)
class Tempered(GRPO):
    """A user's method with settings of its own, and no word on its role but its parent's."""

    tau: float = 0.5
    form: str | None = None


@dataclass(frozen=True, kw_only=True)
class Control(GRPO):
    role: ClassVar[Role] = "control"


@dataclass(frozen=True, kw_only=True)
class Bare:
    """No settings at all, and no role: a baseline."""

    __call__ = GRPO.__call__


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, made in {"tempered": Tempered, "control": Control, "bare": Bare}.items():
        monkeypatch.setitem(OBJECTIVES, name, made)


def cells_of(text: str) -> dict[str, list[str]]:
    """The first grid of Markdown: row -> cells."""
    lines = [
        line for line in text.split("## ", maxsplit=1)[0].splitlines() if line.startswith("| ")
    ]
    return {line.split("|")[1].strip(): [c.strip() for c in line.split("|")] for line in lines}


def test_any_setting_of_an_objective_is_text_and_column(root: Path) -> None:
    change(root, "GRPO, objective: grpo,", "GRPO, objective: tempered, tau: 0.125, form: long,")
    change(root, 'GS_PO & co | 100%", objective: gspo,', 'Other", objective: tempered,')
    table = table_of(root)
    cells = cells_of(markdown(table))
    assert cells["GRPO"][2] == "clip 0.2 / 0.2, tau 0.125, form long"
    assert cells["Other"][2] == "clip 0.0003 / 0.0004, tau 0.5"
    assert "tau 0.125, form long" in latex(table)
    rows = {r["name"]: r for r in csv.DictReader(csv_files(table)["table1.csv"].splitlines())}
    names = list(rows["grpo"])
    assert names[3:7] == ["q", "memory", "clip_low", "clip_high"]
    assert names[10:12] == ["tau", "form"]
    stated = {name: [row["tau"], row["form"]] for name, row in rows.items()}
    assert stated.pop("grpo") == ["0.125", "long"]
    assert stated.pop("gspo") == ["0.5", ""]
    assert set(map(tuple, stated.values())) == {("", "")}


def test_settings_of_methods_that_are_not_in_the_table_are_no_columns(root: Path) -> None:
    make(root)
    assert "tau" not in (root / "out" / "table1.csv").read_text()


def test_a_method_without_a_clip_says_nothing_of_one(root: Path) -> None:
    change(root, "objective: grpo, clip_low: 0.2, clip_high: 0.2", "objective: bare")
    assert cells_of(markdown(table_of(root)))["GRPO"][2] == "—"


def test_a_control_is_neither_the_first_nor_the_best_baseline(root: Path) -> None:
    change(root, "objective: gspo", "objective: control")  # its row is by far the best
    assert (table_of(root).first, table_of(root).best) == ("grpo", "grpo")
    change(root, "objective: grpo", "objective: control")
    assert (table_of(root).first, table_of(root).best) == (None, None)


def test_a_role_in_the_experiment_file_wins(root: Path) -> None:
    assert list(differences(root)) == ["KPO-clipped", "KPO-unclipped"]
    change(root, "objective: kpo, q: 1e-4", "objective: kpo, role: control, q: 1e-4")
    assert list(differences(root)) == ["KPO-clipped"]
    make(root)
    with (root / "out" / "diagnostics.csv").open() as file:
        found = {row["name"]: row["role"] for row in csv.DictReader(file)}
    assert found == {
        "base": "",
        "grpo": "baseline",
        "gspo": "baseline",
        "kpo-clipped": "proposed",
        "kpo-unclipped": "control",
    }


def test_the_first_baseline_of_the_file_is_the_reference_whatever_its_name(root: Path) -> None:
    change(root, "objective: grpo", "objective: tempered")
    table = table_of(root)
    assert (table.first, table.best) == ("grpo", "gspo")
    assert "≈: the difference to GRPO" in markdown(table)
    text = (root / "demo.yaml").read_text()
    lines = text.splitlines()
    grpo = next(line for line in lines if line.startswith("  grpo"))
    (root / "demo.yaml").write_text("\n".join([*(li for li in lines if li != grpo), grpo]))
    table = table_of(root)
    assert (table.first, table.best) == ("gspo", "gspo")
    found = {c.reference: c.against for c in table.comparisons}
    assert found == {
        "gspo": ("first baseline", "best baseline"),
        "base": ("base model",),
        "grpo": ("baseline",),
    }
    assert list(records_of(root)) == ["base", "gspo", "kpo-clipped", "kpo-unclipped", "grpo"]


def records_of(root: Path) -> dict[str, dict[str, str]]:
    make(root)
    return records(root / "out" / "table1.csv")
