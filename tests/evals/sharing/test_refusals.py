"""What cannot be compared, said in a sentence; and what is only said."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evals.demo import PROTOCOL
from tests.evals.sharing.halves import compared, halves, note, refused


def changed(key: str, value: Any) -> dict[str, Any]:
    """The protocol of evaluation with another entry at `a.b`."""
    section, _, name = key.partition(".")
    protocol: dict[str, Any] = {**PROTOCOL}
    return {**protocol, section: {**protocol.get(section, {}), name: value}}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompt.name", "plain"),
        ("sampling.temperature", 0.6),
        ("sampling.samples", 4),
        ("data.aime24", {"problems": 6, "content_sha256": "1"}),
        ("engine.dtype", "bfloat16"),
    ],
)
def test_another_protocol_of_evaluation(
    root: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any
) -> None:
    mine, theirs = halves(root)
    note(mine, "evals", "*", protocol=changed(key, value))
    told = refused(capsys, mine, theirs)
    assert f"{mine} cannot be compared with {theirs}, which is of another protocol: " in told
    assert f"evaluation.{key}" in told


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base", "another"),
        ("data", "other problems"),
        ("prompt", {"name": "plain"}),
        ("settings", {"train": {"group": 16}}),
        ("settings", {"train": {"reward": "coin"}}),
        ("settings", {"grading": {"rule": "math_verify"}}),
        ("engine", {"name": "vllm"}),
    ],
)
def test_another_training(
    root: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any
) -> None:
    mine, theirs = halves(root)
    note(mine, "runs", "*", **{key: value})
    assert f"training.{key}" in refused(capsys, mine, theirs)


def test_a_setting_that_did_not_exist_was_at_its_default(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = halves(root)
    before = compared(capsys, mine, theirs)
    note(mine, "runs", "*", settings={"train": {"lr": 1e-6, "reward": "graded", "group": 8}})
    assert compared(capsys, mine, theirs) == before


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("runs", {"packages": {"torch": "2.4"}}, 'packages.torch is "2.4" in '),
        ("runs", {"settings": {"train": {"lr": 1e-6, "gpus": 8}}}, "training.gpus is 8 in "),
        ("runs", {"code": "fedcba987654321"}, 'training.code is "fedcba987654" in '),
        ("evals", {"protocol": changed("engine.version", "1")}, 'evaluation.engine.version is "1"'),
    ],
)
def test_how_it_was_computed_is_said(
    root: Path, capsys: pytest.CaptureFixture[str], kind: str, changes: dict[str, Any], told: str
) -> None:
    mine, theirs = halves(root)
    assert "Computed otherwise" not in compared(capsys, mine, theirs)
    note(mine, kind, "*", **changes)
    text = compared(capsys, mine, theirs)
    (line,) = (line for line in text.splitlines() if line.startswith("- Computed otherwise"))
    assert told in line


def test_a_table_without_its_manifests(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, theirs = halves(root)
    copy = root / "results/table1.csv"
    copy.write_bytes((mine / "table1.csv").read_bytes())
    told = refused(capsys, copy.parent, theirs)
    assert "neither manifests.json nor base/, runs/ and evals/ lie beside table1.csv" in told
    (mine / "runs/kpo-clipped-s0/manifest.json").unlink()
    assert "manifests.json has no kpo-clipped-s0 in runs" in refused(capsys, mine, theirs)


def test_scores_of_other_answers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, theirs = halves(root)
    text = (theirs / "scores.csv").read_text().splitlines()
    head, first = text[0].split(","), text[1].split(",")
    first[head.index("gspo-s1")] = str((int(first[head.index("gspo-s1")]) + 1) % 5)
    (theirs / "scores.csv").write_text("\n".join([text[0], ",".join(first), *text[2:]]))
    told = refused(capsys, mine, theirs)
    assert "table1.csv and scores.csv are not of the same answers: avg@4 of gspo in" in told


def test_scores_of_other_problems(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, theirs = halves(root)
    path = theirs / "scores.csv"
    path.write_text(path.read_text().replace("aime24,p0,", "aime24,q0,"))
    assert "scores.csv is of other problems" in refused(capsys, mine, theirs)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "table1.csv has no rows"),
        ("a,b\n1,2\n", "table1.csv has no column 'method'"),
        ("method,name,objective,seeds\nx,x,,\n", "it is no table of kpo's"),
        ("<html>\n<body>\n", "table1.csv has no column 'method'"),
        ("method,name,objective,seeds,overall_avg@4\nx\n", "does not fit its header"),
    ],
)
def test_what_is_no_table(
    root: Path, capsys: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    mine, theirs = halves(root)
    (theirs / "table1.csv").write_text(content)
    assert told in refused(capsys, mine, theirs)


def test_a_row_that_is_not_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, theirs = halves(root)
    told = refused(capsys, mine, theirs, "--against", "gropo")
    assert told == f"error: --against gropo: {theirs} has no such row; it has base, grpo, gspo\n"


def test_the_manifests_of_runs_that_are_no_rows_do_not_count(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = halves(root)
    before = compared(capsys, mine, theirs)
    stray = mine / "runs/old-s0"
    stray.mkdir()
    (stray / "manifest.json").write_text(json.dumps({"base": "another"}))
    assert compared(capsys, mine, theirs) == before
