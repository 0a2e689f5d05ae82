"""Data sets and sources that are refused, and where their files are looked for."""

from pathlib import Path
from typing import Any

import pytest

from tests.kpo.config.experiments import HUB, NAME_RULE, changed, load, refusal

KNOWN = (
    "gsm8k-train, dapo-math-17k, aime24, aime25, amc23, math500, minerva, olympiadbench, gsm8k,"
    " mine; for any other a folder of data files must be named"
)
REFUSED_DATA: list[tuple[str, Any, str]] = [
    (
        "data/folder",
        "x",
        "data.folder: unknown key (its value is 'x'); allowed: train_folder, benchmarks_folder,"
        " sources, duplicates, contradictions, unusable_golds, contamination, overlong",
    ),
    (
        "data/sources/mine/hubb",
        "x",
        "data.sources.mine.hubb: unknown key (its value is 'x'); allowed: hub, split, subset,"
        " revision, problem, instruction, preamble, answer, answer_form, normaliser, size, sha256",
    ),
    (
        "data/overlong",
        "skip",
        "data.overlong is 'skip', but must be 'drop' or 'refuse'",
    ),
    ("data/sources/mine/hub", 3, "data.sources.mine.hub is 3, but must be a string"),
    (
        "data/sources/mine/answer_form",
        "box",
        "data.sources.mine.answer_form is 'box', but must be 'plain', 'hashes', 'boxed' or 'first'",
    ),
    (
        "data/sources/mine/normaliser",
        "aime24",
        "data.sources.mine.normaliser is 'aime24', but must be one of integers, minerva,"
        " olympiadbench, strip, or null",
    ),
    ("data/sources/Mine", {"hub": "a", "split": "b"}, f"data.sources: the key 'Mine' {NAME_RULE}"),
    ("data/train_folder", "", "data.train_folder is '', but must have at least 1 character"),
    ("data/train_folder", "/nope", "train.problems: /nope: no such file or folder"),
    ("data/benchmarks_folder", "/nope", "evaluate.benchmarks: /nope: no such file or folder"),
    ("train/problems", "gsm", f"train.problems: unknown data set 'gsm'; known: {KNOWN}"),
    (
        "evaluate/benchmarks",
        ["aime24", "aime26"],
        f"evaluate.benchmarks: unknown data set 'aime26'; known: {KNOWN}",
    ),
    (
        "policy/layers",
        3,
        "policy.layers: unknown key (its value is 3); allowed: kind, model, revision, architecture,"
        " wheel",
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "sentence"), REFUSED_DATA, ids=[path for path, _, _ in REFUSED_DATA]
)
def test_refused_data(tmp_path: Path, path: str, value: Any, sentence: str) -> None:
    assert refusal(tmp_path, changed(HUB, path, value)) == [sentence]


def test_a_source_of_ones_own_is_known(tmp_path: Path) -> None:
    assert load(tmp_path, changed(HUB, "train/problems", "mine")).train.problems == "mine"


@pytest.mark.parametrize("variable", ["KPO_TRAIN_PROBLEMS", "KPO_BENCHMARKS"])
def test_the_environments_folder_comes_before_the_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    content = changed(changed(HUB, "data/train_folder", "."), "data/benchmarks_folder", ".")
    for name in ("gsm8k-train", "aime24", "math500"):
        (tmp_path / f"{name}.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    load(tmp_path, content)
    monkeypatch.setenv(variable, "elsewhere")
    (sentence,) = refusal(tmp_path, content)
    assert sentence.endswith(" elsewhere: no such file or folder")


def test_several_benchmarks_do_not_come_from_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "aime24.jsonl"
    file.touch()
    monkeypatch.setenv("KPO_BENCHMARKS", str(file))
    assert refusal(tmp_path, HUB) == [
        f"evaluate.benchmarks: one file, {file}, cannot hold them all"
    ]
    load(tmp_path, changed(HUB, "evaluate/benchmarks", ["aime24"]))
