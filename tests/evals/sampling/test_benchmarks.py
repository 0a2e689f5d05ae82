"""Golds are checked once: what evals.benchmarks found usable, sampling takes as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kpo.common.cli import UserError
from kpo.evals import benchmarks, sample
from kpo.evals.grading.grader import check_golds
from kpo.evals.sampling import benchmarks as loading
from kpo.evals.sampling.benchmarks import load_benchmarks
from tests.evals.sampled import PROBLEMS, experiment, write_problems
from tests.kpo.config.experiments import write as write_experiment

OTHER = "0" * 64


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The benchmarks whose golds were checked since the test began, in order."""
    names: list[str] = []

    def counted(golds: Iterable[tuple[str, str]]) -> None:
        rows = list(golds)
        names.append(rows[0][0].split()[0])
        check_golds(rows)

    monkeypatch.setattr(loading, "check_golds", counted)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_problems(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tree = experiment().model_dump(mode="json", exclude_unset=True)
    return write_experiment(tmp_path / "test.yaml", tree)


@pytest.fixture
def checked(config: Path, folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """What evals.benchmarks writes of the problems, which it checks."""
    out = config.with_name("benchmarks.json")
    files = ["--config", str(config), "--problems", str(folder), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *files])
    benchmarks.main()
    assert asked == list(PROBLEMS)
    asked.clear()
    return out


def change(path: Path, changed: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    changed(content)
    path.write_text(json.dumps(content))


def rewrite(file: Path, answer: str) -> None:
    """Give the first problem of a file another gold."""
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps({**json.loads(first), "answer": answer}), *others]))


def test_what_was_checked_is_not_checked_again(
    folder: Path, checked: Path, asked: list[str]
) -> None:
    found = load_benchmarks(experiment(), folder, checked)
    assert asked == []
    assert found == load_benchmarks(experiment(), folder)
    assert asked == list(PROBLEMS)


def test_other_content_is_checked(folder: Path, checked: Path, asked: list[str]) -> None:
    rewrite(folder / "hard.jsonl", "7")
    load_benchmarks(experiment(), folder, checked)
    assert asked == ["hard"]
    rewrite(folder / "hard.jsonl", "\\frac{")
    with pytest.raises(UserError, match="unusable gold answers: hard hard/0"):
        load_benchmarks(experiment(), folder, checked)
    asked.clear()
    load_benchmarks(experiment(limit=2, benchmarks=["easy"]), folder, checked)  # of three
    assert asked == ["easy"]


def test_a_set_that_the_record_lacks_is_checked(
    folder: Path, checked: Path, asked: list[str]
) -> None:
    change(checked, lambda sets: sets.pop("easy"))
    load_benchmarks(experiment(), folder, checked)
    assert asked == ["easy"]


@pytest.mark.parametrize("by", [OTHER, None, ...], ids=["other code", "nobody", "old record"])
def test_what_other_code_found_usable_is_checked(
    folder: Path, checked: Path, asked: list[str], by: Any
) -> None:
    change(checked, lambda sets: sets["easy"].pop("checked_by"))
    if by is not ...:
        change(checked, lambda sets: sets["easy"].update(checked_by=by))
    load_benchmarks(experiment(), folder, checked)
    assert asked == ["easy"]


@pytest.mark.parametrize("part", ["code_hash", "package_versions"])
def test_a_record_is_of_the_code_and_the_packages_that_checked(
    folder: Path, checked: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(loading, part, lambda *_: OTHER)
    load_benchmarks(experiment(), folder, checked)
    assert asked == list(PROBLEMS)


BROKEN = ["", "{", "[]", "7", '{"easy": 3}', '{"easy": null}', "\xff"]
BROKEN += [
    '{"easy": {"checked_by": TODAY}}',
    '{"easy": {"checked_by": TODAY, "content_sha256": []}}',
]


@pytest.mark.parametrize("text", [*BROKEN, None])
def test_sampling_refuses_what_is_no_record(
    config: Path,
    folder: Path,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
) -> None:
    record, out = config.with_name("benchmarks.json"), config.with_name("samples.jsonl")
    if text is not None:
        today = json.dumps(loading.checker())
        record.write_bytes(text.replace("TODAY", today).encode("latin-1"))
    files = ["--model", str(folder), "--problems", str(folder), "--out", str(out)]
    options = ["--config", str(config), "--run", "base", *files, "--checked", str(record)]
    monkeypatch.setattr(sys, "argv", ["sample", *options])
    with pytest.raises(SystemExit, match="2"):
        sample.main()
    sentence = f"error: {record} is not a JSON file that evals.benchmarks wrote\n"
    assert capsys.readouterr().err == sentence
    assert asked == []


def test_a_task_that_grades_itself_vouches_for_no_gold(
    config: Path, folder: Path, checked: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setattr(type(experiment()), "grades_itself", True)
    benchmarks.main()
    assert asked == []
    assert {one["checked_by"] for one in json.loads(checked.read_text()).values()} == {None}
