"""Benchmarks at load: golds are checked, origins recorded, a folder is compared with the hub."""

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from kpo.evals import benchmarks
from kpo.model.policy import save_model
from tests.kpo.models import tiny_policy

Row = dict[str, Any]
ROWS: list[Row] = [{"problem": f"p{i}", "answer": str(i)} for i in range(3)]


class Place:
    """A folder of JSONL files, a data set in the place of the hub's, and a config of both."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.capsys = path, capsys
        self.out = path / "benchmarks.json"
        self.response = 8
        (path / "folder").mkdir()
        (path / "hub").mkdir()

    def folder(self, rows: list[Row], name: str = "aime24") -> None:
        lines = (json.dumps({"id": f"id{i}", **row}) + "\n" for i, row in enumerate(rows))
        (self.path / "folder" / f"{name}.jsonl").write_text("".join(lines))

    def hub(self, rows: list[Row]) -> None:
        datasets.Dataset.from_list(rows).to_parquet(str(self.path / "hub" / "test.parquet"))

    def run(self, monkeypatch: pytest.MonkeyPatch, *options: str, **data: Any) -> tuple[int, str]:
        """Exit code and last line on stderr (bars are above it) of the command line."""
        source = {"hub": str(self.path / "hub"), "split": "test"}
        tree = {
            "experiment": "test",
            "seeds": [0],
            "prompt": "boxed",
            "policy": {"kind": "pretrained", "model": "a/model"},
            "data": {"sources": {"aime24": source, "gsm8k-train": source}, **data},
            "train": {
                "problems": "gsm8k-train",
                "steps": 1,
                "max_prompt_tokens": 8,
                "max_response_tokens": 8,
                "lr": 1.0,
            },
            "evaluate": {
                "benchmarks": ["aime24"],
                "max_response_tokens": self.response,
                "limit": 2,
            },
            "methods": {"grpo": {"objective": "grpo", "label": "GRPO"}},
        }
        config = self.path / "config.yaml"
        config.write_text(yaml.safe_dump(tree))
        arguments = ["benchmarks", "--config", str(config), "--out", str(self.out), *options]
        monkeypatch.setattr(sys, "argv", arguments)
        try:
            benchmarks.main()
        except SystemExit as exit_:
            return int(str(exit_.code)), self.capsys.readouterr().err.splitlines()[-1]
        return 0, ""


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Place:
    for name in ("KPO_BENCHMARKS", "KPO_TRAIN_PROBLEMS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    made = Place(tmp_path, capsys)
    made.hub(ROWS)
    return made


def test_what_is_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.run(monkeypatch) == (0, "")
    record = json.loads(place.out.read_text())["aime24"]
    assert record["problems"] == 2
    assert len(record["content_sha256"]) == 64
    assert record["origin"]["split"] == "test"
    hub_content = record["content_sha256"]
    place.folder(ROWS)
    assert place.run(monkeypatch, benchmarks_folder=str(place.path / "folder")) == (0, "")
    record = json.loads(place.out.read_text())["aime24"]
    assert record["content_sha256"] == hub_content
    assert record["origin"] == {"file": "aime24.jsonl"}


def test_a_gold_that_does_not_parse_stops_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.folder([ROWS[0], {"problem": "x", "answer": "\\frac{"}])
    code, message = place.run(monkeypatch, "--problems", str(place.path / "folder"))
    assert code == 2
    assert message.startswith(
        "error: unusable gold answers: aime24 id1: '\\\\frac{' does not parse"
    )
    assert not place.out.exists()


@pytest.mark.parametrize(("response", "fits"), [(128 - 69, True), (128 - 68, False)])
def test_prompts_must_leave_room_in_the_model(
    place: Place, monkeypatch: pytest.MonkeyPatch, response: int, fits: bool
) -> None:
    policy = tiny_policy()  # of 128 positions, and a token a character
    save_model(policy.model, policy.tokenizer, place.path / "model")
    place.folder([ROWS[0], {"problem": "p" * 3, "answer": "1"}])
    monkeypatch.setattr(place, "response", response)
    options = "--problems", str(place.path / "folder"), "--model", str(place.path / "model")
    code, message = place.run(monkeypatch, *options)
    assert place.out.exists() == fits
    assert (code, message) == (
        (0, "")
        if fits
        else (
            2,
            "error: aime24: the prompt of id1 has 69 tokens and evaluate.max_response_tokens is 60,"
            " together more than the model's 128 positions: lower it",
        )
    )


OTHER = [
    (ROWS, None),
    ([*ROWS[:2], {"problem": "p2", "answer": "7"}], "the gold of id2 is '7', on the hub '2'"),
    ([ROWS[0], ROWS[2]], "the problem of id1 is another than that of aime24/1 on the hub"),
    (ROWS[:2], "2 problems, on the hub 3"),
]


@pytest.mark.parametrize(("rows", "difference"), OTHER)
def test_the_folder_is_compared_with_the_hub(
    place: Place, monkeypatch: pytest.MonkeyPatch, rows: list[Row], difference: str | None
) -> None:
    place.folder(rows)
    options = "--compare-hub", "--problems", str(place.path / "folder")
    expected = f"error: the folder and the hub differ: aime24: {difference}"
    assert place.run(monkeypatch, *options) == ((2, expected) if difference else (0, ""))
    assert place.out.exists() == (difference is None)


def test_a_comparison_needs_a_folder(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    code, message = place.run(monkeypatch, "--compare-hub")
    assert code == 2
    assert "no folder of data files is named" in message
