"""Problems from the hub: how it is asked, which rows it may give, what is refused."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from kpo.tasks.datasets.sources import SOURCES, Source, with_known
from kpo.tasks.problems import (
    DataError,
    Problem,
    content_hash,
    locate,
    open_problems,
)

Row = dict[str, Any]
Hub = Callable[[list[Row]], list[Any]]
ROWS: list[Row] = [{"problem": f"p{i}", "answer": str(i)} for i in range(3)]
COMMIT = "0123456789" * 4
BENCHMARKS = Path(os.environ.get("KPO_BENCHMARKS", "../shared/benchmarks"))


def write(folder: Path, rows: list[Row], name: str = "set") -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Puts rows on a pretended hub; the list that it returns holds how it was asked."""

    def provide(rows: list[Row]) -> list[Any]:
        calls: list[Any] = []

        class Builder:
            hash = COMMIT

            def __init__(self, *args: Any, **options: Any) -> None:
                calls.append((args, options))

            def download_and_prepare(self) -> None:
                pass

            def as_dataset(self, split: str) -> Any:
                calls.append(split)
                return datasets.Dataset.from_list(rows)

        monkeypatch.setattr(datasets, "load_dataset_builder", Builder)
        return calls

    return provide


@pytest.mark.parametrize(
    ("form", "value", "gold"),
    [
        ("plain", "\\frac{1}{2}", "\\frac{1}{2}"),
        ("plain", 204, "204"),
        ("plain", 27.0, "27"),
        ("hashes", "Two and #### two.\n#### 1,234", "1234"),
        ("boxed", "Not \\boxed{1}, but \\boxed{\\frac{2}{3}}.", "\\frac{2}{3}"),
        ("first", ["3", "4"], "3"),
        ("first", "3", "3"),
    ],
)
def test_answer_forms(hub: Hub, form: Any, value: Any, gold: str) -> None:
    hub([{"q": "x?", "a": value}])
    source = Source(hub="me/set", split="test", problem="q", answer="a", answer_form=form)
    found = open_problems("set", folder=None, sources={"set": source}).load()
    assert found == [Problem("set/0", "x?", gold)]


GOLD_WANTED = "must be a text, not empty, or a number"


@pytest.mark.parametrize(
    ("form", "value", "complaint"),
    [
        ("plain", None, f"a {GOLD_WANTED}, got None"),
        ("plain", True, f"a {GOLD_WANTED}, got True"),
        ("hashes", "just 5", "a holds no ####"),
        ("hashes", "#### ", f"a {GOLD_WANTED}, got ''"),
        ("boxed", "just 5", "a holds no boxed answer"),
        ("first", [], f"a {GOLD_WANTED}, got []"),
    ],
)
def test_a_bad_answer_names_the_hub_row(hub: Hub, form: Any, value: Any, complaint: str) -> None:
    hub([{"q": "x?", "a": value}])
    source = Source(hub="me/set", split="test", problem="q", answer="a", answer_form=form)
    with pytest.raises(DataError) as error:
        open_problems("set", folder=None, sources={"set": source}).load()
    assert str(error.value) == f"me/set, row 0: {complaint}"


def test_a_renamed_column_names_those_there_are(hub: Hub) -> None:
    hub([{"question": "x?", "solution": "1"}])
    with pytest.raises(DataError, match="row 0: no column 'problem'; there is question, solution"):
        open_problems("aime24", folder=None).load()


def test_the_hub_is_asked_for_what_the_source_says(hub: Hub) -> None:
    calls = hub([{"problem": "x", "answer": "1"}])
    source = Source(hub="me/set", split="dev", subset="main", revision="abc")
    open_problems("set", folder=None, sources={"set": source}).load()
    assert calls == [(("me/set", "main"), {"revision": "abc"}), "dev"]


def test_a_hub_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset_builder", unreachable)
    with pytest.raises(DataError) as error:
        open_problems("aime24", folder=None).load()
    assert str(error.value) == (
        "aime24: cannot load HuggingFaceH4/aime_2024 (split train, revision"
        f" {SOURCES['aime24'].revision}) from the hub: no route; a folder of data files can be"
        " named instead"
    )


def test_the_commit_that_was_resolved_is_recorded(hub: Hub) -> None:
    hub(ROWS)
    source = Source(hub="me/set", split="test", subset="main")
    stream = open_problems("set", folder=None, sources={"set": source})
    assert len(stream.load(2)) == 2
    assert stream.origin == {"hub": "me/set", "subset": "main", "split": "test", "revision": COMMIT}


def test_a_column_inside_a_column_and_an_instruction_that_is_taken_off(hub: Hub) -> None:
    source = SOURCES["dapo-math-17k"]
    text = f"What is 1+1?\n\n{source.instruction}"
    prompts = [[{"role": "user", "content": content}] for content in (text, "What is 1+2?")]
    hub([{"prompt": prompt, "reward_model": {"ground_truth": "2"}} for prompt in prompts])
    found = open_problems("dapo-math-17k", folder=None).load()
    assert [(p.problem, p.answer) for p in found] == [("What is 1+1?", "2"), ("What is 1+2?", "2")]


def test_a_column_that_is_not_inside_another_is_named(hub: Hub) -> None:
    hub([{"prompt": [{"role": "user", "content": "x?"}], "reward_model": {"truth": "2"}}])
    message = r"row 0: no column 'reward_model\.ground_truth'; there is prompt, reward_model"
    with pytest.raises(DataError, match=message):
        open_problems("dapo-math-17k", folder=None).load()


def test_known_sets_are_on_a_commit_or_carry_the_hash_of_their_rows() -> None:
    for name, source in SOURCES.items():
        pinned = re.fullmatch("[0-9a-f]{40}", source.revision)
        assert pinned or source.sha256 or name == "dapo-math-17k", name


def test_an_entry_without_a_hub_id_changes_the_known_set() -> None:
    entry = with_known("minerva", {"revision": COMMIT, "sha256": None})
    expected = {"revision": COMMIT, "sha256": None}
    assert Source(**entry) == SOURCES["minerva"].model_copy(update=expected)
    whole = {"hub": "me/minerva", "split": "dev"}
    assert with_known("mine", whole) == whole
    assert with_known("minerva", whole) == {**whole, "normaliser": "minerva"}
    plain = {**whole, "normaliser": None}
    assert with_known("minerva", plain) == plain


@pytest.mark.parametrize("place", ["hub", "folder"])
def test_golds_are_normalised_as_the_source_says(tmp_path: Path, hub: Hub, place: str) -> None:
    rows: list[Row] = [
        {"problem": "p", "answer": "025"},
        {"problem": "q", "answer": "np.arcsin(1)"},
    ]
    hub(rows)
    folder = write(tmp_path, rows) if place == "folder" else None

    def golds(normaliser: str | None) -> list[str]:
        source = Source(hub="me/set", split="test", normaliser=normaliser, sha256=content)
        found = open_problems("set", folder=folder, sources={"set": source}).load()
        return [problem.answer for problem in found]

    content = content_hash(Problem("", row["problem"], row["answer"]) for row in rows)  # as it is
    assert golds(None) == ["025", "np.arcsin(1)"]
    assert golds("integers") == ["25", "np.arcsin(1)"]
    assert golds("minerva") == ["025", "\\arcsin(1)"]


def test_an_unknown_set_lists_the_known_ones() -> None:
    with pytest.raises(DataError) as error:
        locate("nope", folder=None, sources={"mine": Source(hub="a", split="b")})
    for name in ("nope", "mine", *SOURCES):
        assert name in str(error.value)


def test_a_source_of_ones_own_comes_before_the_known_one() -> None:
    mine = Source(hub="me/aime", split="test")
    assert locate("aime24", folder=None, sources={"aime24": mine}) == mine


# From a real data set, which `datasets` builds


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A data set of two splits in a folder, in the place of a hub id."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data-set"
    folder.mkdir()
    for split, rows in {"train": ROWS, "test": ROWS[:2]}.items():
        datasets.Dataset.from_list(rows).to_parquet(str(folder / f"{split}.parquet"))
    return Source(hub=str(folder), split="test")


def test_a_data_set_is_built_and_read(data_set: Source) -> None:
    stream = open_problems("set", folder=None, sources={"set": data_set})
    assert stream.load() == [Problem(f"set/{i}", f"p{i}", str(i)) for i in range(2)]
    assert stream.origin["revision"] is None


def test_a_missing_split_is_named(data_set: Source) -> None:
    source = data_set.model_copy(update={"split": "dev"})
    with pytest.raises(DataError, match=r"set: cannot load .*split dev.*Unknown split \"dev\""):
        open_problems("set", folder=None, sources={"set": source}).load()


# The content's hash


def test_a_folder_and_the_hub_give_the_same_content(tmp_path: Path, hub: Hub) -> None:
    write(tmp_path, [{"id": f"x{i}", "problem": f"p{i}", "answer": i} for i in range(3)])
    hub([{"problem": f"p{i}", "answer": i} for i in range(3)])
    sources = {"set": Source(hub="me/set", split="test")}
    here = open_problems("set", folder=tmp_path).load()
    there = open_problems("set", folder=None, sources=sources).load()
    assert content_hash(here) == content_hash(there)
    assert [p.id for p in here] != [p.id for p in there]


def test_the_hash_is_of_texts_answers_and_order() -> None:
    a, b = Problem("1", "p", "1"), Problem("2", "q", "2")
    hashes = {
        content_hash(problems)
        for problems in (
            [a, b],
            [b, a],
            [a],
            [a, Problem("2", "q", "3")],
            [Problem("1", "r", "1"), b],
        )
    }
    assert len(hashes) == 5
    assert content_hash([a]) == content_hash([Problem("other id", "p", "1")])


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("from_hub", [True, False])
def test_other_content_than_the_sources_is_refused(
    tmp_path: Path, hub: Hub, limit: int | None, from_hub: bool
) -> None:
    hub(ROWS)
    write(tmp_path, ROWS)
    folder = None if from_hub else tmp_path
    expected = content_hash(open_problems("set", folder=tmp_path).load())

    def load(sha256: str) -> list[Problem]:
        source = Source(hub="me/set", split="test", sha256=sha256)
        return open_problems("set", folder=folder, sources={"set": source}).load(limit)

    assert load(expected)[0].problem == "p0"
    with pytest.raises(DataError, match=f"hash is {expected}, expected {'0' * 64}") as error:
        load("0" * 64)
    assert ("me/set" if from_hub else str(tmp_path / "set.jsonl")) in str(error.value)
    assert "data.sources.set.sha256" in str(error.value)


def test_a_known_hash_binds_the_hub_and_not_a_folder(tmp_path: Path, hub: Hub) -> None:
    hub(ROWS)
    write(tmp_path, ROWS, "amc23")
    assert len(open_problems("amc23", folder=tmp_path).load()) == 3
    with pytest.raises(DataError, match=r"amc23 \(knoveleng/AMC-23\): the content's hash is"):
        open_problems("amc23", folder=None).load()


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.sha256])
def test_known_hashes_are_those_of_the_checked_rows(name: str) -> None:
    if not BENCHMARKS.is_dir():
        pytest.skip(f"no copies of the benchmarks in {BENCHMARKS} (KPO_BENCHMARKS names a folder)")
    stream = open_problems(name, folder=BENCHMARKS)
    list(stream)
    assert stream.content == SOURCES[name].sha256
