"""The note on benchmarks whose problems were not looked for in the training set."""

import json
from pathlib import Path
from typing import Any

import pytest

from kpo.evals.table.trainings import contamination_notes

SEARCHED = {"ngram": 8, "share": 0.5, "benchmarks": {"aime24": "a", "math500": "b"}}


def notes(folder: Path, trained: Any, written: Any = None) -> list[str]:
    """Of an experiment with one run and the benchmarks aime24 and aime25."""
    if written is not None:
        (folder / "data.json").write_text(json.dumps(written))
    manifests = {"grpo-s0": {"training_set": trained}}
    return list(contamination_notes(folder, manifests, ["aime24", "aime25"]))


def test_the_task_needs_no_note(tmp_path: Path) -> None:
    assert notes(tmp_path, {"name": "train"}) == []


def test_a_benchmark_that_was_named_later_is_said(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, {"contamination": SEARCHED})
    assert note.startswith("Whether problems of aime25 are among the training problems was not")
    assert f"--forcerun data {tmp_path}/data.json`" in note


def test_not_looking_is_said(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, {"contamination": None})
    assert note == (
        "Whether problems of aime24, aime25 are among the training problems was not looked for"
        " (data.contamination is keep)."
    )


@pytest.mark.parametrize(("content", "count"), [("same", 0), ("other", 1)])
def test_the_record_counts_if_the_runs_were_trained_on_its_set(
    tmp_path: Path, content: str, count: int
) -> None:
    more = {**SEARCHED, "benchmarks": {"aime24": "a", "aime25": "c"}}
    trained = {"contamination": SEARCHED, "cleaned_sha256": "same"}
    written = {"contamination": more, "problems_sha256": content}
    assert len(notes(tmp_path, trained, written)) == count
