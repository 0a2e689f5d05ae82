"""The experiment of `demo` as two: one's own rows, and stored ones of the same base."""

import csv
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from kpo.evals import compare, reference, tables

OWN, STORED = ["kpo-clipped", "kpo-unclipped"], ["grpo", "gspo"]


def part(root: Path, name: str, methods: Sequence[str], **changes: Any) -> Path:
    """An experiment with some of demo's methods, its tables beside its runs."""
    config = yaml.safe_load((root / "demo.yaml").read_text()) | {"experiment": name} | changes
    config["methods"] = {method: config["methods"][method] for method in methods}
    (root / f"{name}.yaml").write_text(yaml.safe_dump(config))
    folder = root / "results" / name
    (folder / "base").mkdir(parents=True)
    (folder / "base/manifest.json").write_text('{"weights": "base"}')
    for kind in ("runs", "evals"):
        for run in (root / "results/demo" / kind).iterdir():
            if run.name == "base" or run.name.rpartition("-s")[0] in methods:
                shutil.copytree(run, folder / kind / run.name)
    config_path = str(root / f"{name}.yaml")
    results = str(root / "results")
    tables.main(["--config", config_path, "--results", results, "--out-dir", str(folder)])
    return folder


def kept(root: Path) -> Path:
    """Demo's other rows, as a reference."""
    theirs = part(root, "theirs", STORED)
    reference.main(["--experiment", str(theirs), "--out", str(root / "kept")])
    return root / "kept"


def halves(root: Path) -> tuple[Path, Path]:
    """One's own experiment, and a kept one with the other rows."""
    return part(root, "mine", OWN), kept(root)


def compared(capsys: pytest.CaptureFixture[str], mine: Path, stored: str | Path, *more: str) -> str:
    """What the command prints."""
    capsys.readouterr()
    compare.main([str(mine / "table1.csv"), "--with", str(stored), *more])
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], mine: Path, stored: str | Path, *more: str) -> str:
    """The sentence with which it ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        compare.main([str(mine / "table1.csv"), "--with", str(stored), *more])
    found = capsys.readouterr()
    assert (ended.value.code, found.out) == (2, "")
    assert found.err.startswith("error: ") and found.err.count("\n") == 1
    return found.err


def note(folder: Path, kind: str, runs: str, **changes: Any) -> None:
    """Put other entries into the manifests of some runs of an experiment's folder."""
    for path in folder.glob(f"{kind}/{runs}/manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def grids(text: str) -> list[dict[str, dict[str, str]]]:
    """Every Markdown table: row -> column -> cell."""
    found = []
    for block in re.findall(r"(?m)(?:^\|.*\n)+", text):
        head, _, *rows = (
            [c.strip() for c in line.strip("| \n").split(" | ")] for line in block.splitlines()
        )
        found.append({row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows})
    return found


def lines(path: Path) -> list[Mapping[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))
