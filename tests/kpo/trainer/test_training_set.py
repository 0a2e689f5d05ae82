"""The training set's own step: what it writes, what is read back, what is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kpo.config.experiment import Experiment, load_experiment
from kpo.tasks import training_set as command
from kpo.tasks.generate import write_problems
from kpo.tasks.problems import DataError, Problem, content_hash
from kpo.trainer.training_set import training_set

Row = dict[str, Any]
QUESTION = "In how many ways can five different books stand beside each other on one shelf"
ROWS: list[Row] = [
    {"id": "a", "problem": "1+1?", "answer": 2},
    {"id": "b", "problem": f"{QUESTION}?", "answer": 120},
    {"id": "a", "problem": "1+1?", "answer": 2},  # with its id
    {"id": "c", "problem": "2+1?", "answer": "3"},
    {"id": "d", "problem": "3+1?", "answer": "4"},
    {"id": "e", "problem": "3+1?", "answer": "5"},
]
BENCHMARK: list[Row] = [
    {"id": "x", "problem": f"{QUESTION}, and why?", "answer": "120"},
    {"id": "y", "problem": "7+7?", "answer": "14"},
]


class Place:
    """A folder with a training set, a benchmark and an experiment file."""

    def __init__(self, path: Path) -> None:
        self.path, self.out = path, path / "out"
        self.write("mine", ROWS)
        self.write("aime24", BENCHMARK)

    def write(self, name: str, rows: list[Row]) -> None:
        (self.path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def experiment(self, **data: Any) -> Experiment:
        tree = {
            "experiment": "test",
            "seeds": [0],
            "prompt": "boxed",
            "policy": {"kind": "pretrained", "model": "a/model"},
            "data": {
                "train_folder": str(self.path),
                "benchmarks_folder": str(self.path),
                **data,
            },
            "train": {
                "problems": "mine",
                "steps": 1,
                "max_prompt_tokens": 8,
                "max_response_tokens": 8,
                "lr": 1.0,
            },
            "evaluate": {"benchmarks": ["aime24"], "max_response_tokens": 8, "limit": 1},
            "methods": {"grpo": {"objective": "grpo", "label": "GRPO"}},
        }
        (self.path / "config.yaml").write_text(yaml.safe_dump(tree))
        return load_experiment(self.path / "config.yaml")

    def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        arguments = ["--config", str(self.path / "config.yaml"), "--out", str(self.out)]
        monkeypatch.setattr(sys, "argv", ["training_set", *arguments])
        command.main()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in ("KPO_BENCHMARKS", "KPO_TRAIN_PROBLEMS"):
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path)


KEPT = [Problem("a", "1+1?", "2"), Problem("c", "2+1?", "3")]


def test_what_is_written(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = place.experiment()
    place.run(monkeypatch)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        "mine: 2 of 6 rows are trained on; dropped: 1 duplicates, 2 contradictions, 1 contamination"
    )
    record = json.loads((place.out / "data.json").read_text())
    assert record["origin"] == {"file": "mine.jsonl"}
    assert (record["rows"], record["problems"]) == (6, 2)
    assert record["dropped"] == {"duplicates": 1, "contradictions": 2, "contamination": 1}
    assert record["problems_sha256"] == content_hash(KEPT)
    assert list(record["contamination"]["benchmarks"]) == ["aime24"]
    assert (place.out / "content.sha256").read_text() == content_hash(KEPT) + "\n"
    dropped = [json.loads(line) for line in (place.out / "dropped.jsonl").open()]
    assert [(drop["reason"], drop["ids"]) for drop in dropped] == [
        ("contradictions", ["d", "e"]),
        ("duplicates", ["a"]),
        ("contamination", ["b"]),
    ]
    assert training_set(experiment, place.out).problems == KEPT
    assert training_set(experiment, place.out).record == record


def test_all_of_a_benchmark_is_looked_for_whatever_is_evaluated(place: Place) -> None:
    place.write("mine", [{"problem": "7+7?", "answer": 14}, *ROWS[:1]])
    assert training_set(place.experiment(), None).problems == KEPT[:1]  # evaluate.limit is 1


def test_without_looking_for_benchmarks_none_is_needed(place: Place) -> None:
    found = training_set(place.experiment(contamination="keep"), None)
    assert [p.id for p in found.problems] == ["a", "b", "c"]
    assert found.record["contamination"] is None


@pytest.mark.parametrize("change", ["settings", "rows", "problems", "name"])
def test_a_folder_of_something_else_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    experiment = place.experiment()
    place.run(monkeypatch)
    if change == "settings":
        experiment = place.experiment(contamination="keep")
    elif change == "rows":
        place.write("mine", ROWS[:3])
    elif change == "problems":
        path = place.out / "problems.jsonl"
        path.write_text(path.read_text().replace('"3"', '"4"'))
    else:
        train = experiment.train.model_copy(update={"problems": "aime24"})
        experiment = experiment.model_copy(update={"train": train})
    with pytest.raises(DataError, match=r"make it again|holds mine, not aime24"):
        training_set(experiment, place.out)


@pytest.mark.parametrize("name", ["gsm8k-train", "dapo-math-17k"])
def test_golds_are_normalised_as_benchmarks_are(place: Place, name: str) -> None:
    place.write(name, [{"problem": "4+1?", "answer": "005"}])
    experiment = place.experiment()
    train = experiment.train.model_copy(update={"problems": name})
    found = training_set(experiment.model_copy(update={"train": train}), None)
    assert [p.answer for p in found.problems] == ["5"]


def test_golds_of_a_source_of_ones_own_are_normalised_before_they_are_checked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("mine", [{"id": "a", "problem": "4+1?", "answer": "$-1./3$"}])
    source = {"hub": "me/mine", "split": "train", "normaliser": "minerva"}
    experiment = place.experiment(sources={"mine": source})
    place.run(monkeypatch)
    kept = [Problem("a", "4+1?", "-1/3")]
    assert training_set(experiment, place.out).problems == kept
    changed = place.experiment(sources={"mine": {**source, "normaliser": "strip"}})
    with pytest.raises(DataError, match="make it again"):
        training_set(changed, place.out)


def test_a_set_of_which_nothing_is_left(place: Place) -> None:
    place.write("mine", ROWS[4:])
    with pytest.raises(DataError, match="no row is left to train on"):
        training_set(place.experiment(), None)


def test_an_id_of_two_problems_is_refused(place: Place) -> None:
    place.write("mine", [ROWS[0], {**ROWS[3], "id": "a"}])
    with pytest.raises(DataError, match="the id 'a' stands more than once"):
        training_set(place.experiment(), None)


def test_other_rows_than_the_sources_are_refused(place: Place) -> None:
    source = {"hub": "me/mine", "split": "train", "sha256": "0" * 64}
    with pytest.raises(DataError, match="the content's hash is"):
        training_set(place.experiment(sources={"mine": source}), None)


def test_a_fault_is_one_sentence(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.experiment(duplicates="refuse")
    with pytest.raises(SystemExit) as left:
        place.run(monkeypatch)
    assert left.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {place.path / 'mine.jsonl'}: 1 rows repeat an earlier row")
    assert not place.out.exists()


# The embedded task


def test_the_tasks_problems_are_taken_as_they_are(tmp_path: Path) -> None:
    experiment = load_experiment("workflow/config/tiny.yaml")
    assert experiment.task is not None
    write_problems(experiment.task, tmp_path)
    found = training_set(experiment, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").open()]
    assert found.problems == [Problem(**line) for line in lines]
    assert found.record["dropped"] == {}
    texts = {p.problem for p in found.problems}
    assert len(texts) == len(found.problems) == experiment.task.size("train")
    for tier in experiment.task.tests:
        held_out = {json.loads(line)["problem"] for line in (tmp_path / f"{tier}.jsonl").open()}
        assert not texts & held_out
    with pytest.raises(DataError, match="--problems must name"):
        training_set(experiment, None)
