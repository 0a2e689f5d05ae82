"""Problems from folders and from the hub: what is read, and what is refused naming file and row."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from kpo.tasks.problems import (
    DataError,
    Problem,
    choose_folder,
    content_hash,
    load_problems,
    locate,
)
from kpo.tasks.sources import SOURCES, Source

Row = dict[str, Any]
ROWS: list[Row] = [
    {"id": "a", "problem": "1+1?", "answer": "2"},
    {"id": "b", "problem": "Half of\u2028\\frac{1}{2}?", "answer": "\\frac{1}{4}"},
]
BENCHMARKS = Path(os.environ.get("KPO_BENCHMARKS", "../shared/benchmarks"))
SIZES = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "minerva": 272,
    "olympiadbench": 675,
}


def write(folder: Path, rows: list[Row], name: str = "set") -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Row]], list[Any]]:
    """Puts rows on a pretended hub; the list that it returns holds how it was asked."""

    def provide(rows: list[Row]) -> list[Any]:
        calls: list[Any] = []

        def load_dataset(*args: Any, **options: Any) -> Any:
            calls.append((args, options))
            return datasets.Dataset.from_list(rows)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    return provide


# From a folder


def test_a_folder_of_jsonl(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    assert load_problems("set", folder=tmp_path) == [
        Problem("a", "1+1?", "2"),
        Problem("b", "Half of\u2028\\frac{1}{2}?", "\\frac{1}{4}"),
    ]


def test_further_columns_are_left_and_a_missing_id_is_the_line(tmp_path: Path) -> None:
    write(tmp_path, [{"problem": "x", "answer": "1", "level": 3}, {"problem": "y", "answer": "2"}])
    assert [p.id for p in load_problems("set", folder=tmp_path)] == ["1", "2"]


def test_the_file_itself_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS, "other-name")
    assert len(load_problems("set", folder=path)) == 2


@pytest.mark.parametrize(("limit", "count"), [(None, 2), (1, 1), (2, 2), (9, 2)])
def test_limit_takes_the_first(tmp_path: Path, limit: int | None, count: int) -> None:
    write(tmp_path, ROWS)
    found = load_problems("set", folder=tmp_path, limit=limit)
    assert [p.id for p in found] == ["a", "b"][:count]


GOOD = json.dumps(ROWS[0]).encode()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (GOOD[:-9], "not a whole JSON object"),
        (b"", "not a whole JSON object"),
        (b'{"id": "\xff"}', "not a whole JSON object"),
        (b'["a"]', "must be an object with problem and answer, got ['a']"),
        (b'{"problem": "x"}', "no column 'answer'; there is problem"),
        (b'{"question": "x", "answer": "1"}', "no column 'problem'; there is question, answer"),
        (b'{"problem": "", "answer": "1"}', "problem must be a text, not empty, got ''"),
        (b'{"problem": "x", "answer": " "}', "answer must be a text, not empty, got ' '"),
        (b'{"problem": "x", "answer": null}', "answer must be a text, not empty, got None"),
        (b'{"problem": "x", "answer": ["1"]}', "answer must be a text, not empty, got ['1']"),
        (b'{"problem": "x", "answer": true}', "answer must be a text, not empty, got True"),
        (b'{"problem": "x", "answer": 0.5}', "answer must be a text, not empty, got 0.5"),
        (b'{"problem": 3, "answer": "1"}', "problem must be a text, not empty, got 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, complaint: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\n".join([GOOD, line, GOOD]))
    with pytest.raises(DataError) as error:
        load_problems("set", folder=tmp_path)
    assert str(error.value).startswith(f"{path}, line 2: {complaint}")


def test_the_last_line_may_be_cut_in_half(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD[: len(GOOD) // 2])
    with pytest.raises(DataError, match=r"set\.jsonl, line 2: not a whole JSON object"):
        load_problems("set", folder=tmp_path)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [([], "the data set is empty"), ([ROWS[0], ROWS[1], ROWS[0]], "the id 'a' stands more than")],
)
def test_a_bad_file_is_named(tmp_path: Path, rows: list[Row], complaint: str) -> None:
    path = write(tmp_path, rows)
    with pytest.raises(DataError) as error:
        load_problems("set", folder=tmp_path)
    assert str(error.value).startswith(f"{path}: {complaint}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none/set\.jsonl: no such file"):
        load_problems("set", folder=tmp_path / "none")


@pytest.mark.parametrize(
    ("variable", "configured", "chosen"),
    [
        ("/env", "/config", Path("/env")),
        ("/env", None, Path("/env")),
        ("", "/config", Path("/config")),
        (None, "/config", Path("/config")),
        (None, None, None),
    ],
)
def test_the_environment_comes_before_the_config(
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    configured: str | None,
    chosen: Path | None,
) -> None:
    monkeypatch.delenv("KPO_FOLDER", raising=False)
    if variable is not None:
        monkeypatch.setenv("KPO_FOLDER", variable)
    assert choose_folder(configured, "KPO_FOLDER") == chosen


# From the hub


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
def test_answer_forms(
    hub: Callable[[list[Row]], list[Any]], form: Any, value: Any, gold: str
) -> None:
    hub([{"q": "x?", "a": value}])
    source = Source(hub="me/set", split="test", problem="q", answer="a", answer_form=form)
    found = load_problems("set", folder=None, sources={"set": source})
    assert found == [Problem("set/0", "x?", gold)]


@pytest.mark.parametrize(
    ("form", "value", "complaint"),
    [
        ("plain", None, "a must be a text, not empty, got None"),
        ("plain", True, "a must be a text, not empty, got True"),
        ("plain", 0.5, "a must be a text, not empty, got 0.5"),
        ("hashes", "just 5", "a holds no ####"),
        ("hashes", "#### ", "a must be a text, not empty, got ''"),
        ("boxed", "just 5", "a holds no boxed answer"),
        ("first", [], "a must be a text, not empty, got []"),
    ],
)
def test_a_bad_answer_names_the_hub_row(
    hub: Callable[[list[Row]], list[Any]], form: Any, value: Any, complaint: str
) -> None:
    hub([{"q": "x?", "a": value}])
    source = Source(hub="me/set", split="test", problem="q", answer="a", answer_form=form)
    with pytest.raises(DataError) as error:
        load_problems("set", folder=None, sources={"set": source})
    assert str(error.value) == f"me/set, row 0: {complaint}"


def test_a_renamed_column_names_those_there_are(hub: Callable[[list[Row]], list[Any]]) -> None:
    hub([{"question": "x?", "solution": "1"}])
    with pytest.raises(DataError, match="row 0: no column 'problem'; there is question, solution"):
        load_problems("aime24", folder=None)


def test_the_hub_is_asked_for_what_the_source_says(hub: Callable[[list[Row]], list[Any]]) -> None:
    calls = hub([{"problem": "x", "answer": "1"}])
    source = Source(hub="me/set", split="dev", subset="main", revision="abc")
    load_problems("set", folder=None, sources={"set": source})
    assert calls == [(("me/set", "main"), {"split": "dev", "revision": "abc"})]


def test_a_hub_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=r"aime24: cannot load HuggingFaceH4/aime_2024 .*no route"):
        load_problems("aime24", folder=None)


def test_an_unknown_set_lists_the_known_ones() -> None:
    with pytest.raises(DataError) as error:
        locate("nope", folder=None, sources={"mine": Source(hub="a", split="b")})
    for name in ("nope", "mine", *SOURCES):
        assert name in str(error.value)


def test_a_source_of_ones_own_comes_before_the_known_one() -> None:
    mine = Source(hub="me/aime", split="test")
    assert locate("aime24", folder=None, sources={"aime24": mine}) == mine


# The content's hash


def test_a_folder_and_the_hub_give_the_same_content(
    tmp_path: Path, hub: Callable[[list[Row]], list[Any]]
) -> None:
    write(tmp_path, [{"id": f"x{i}", "problem": f"p{i}", "answer": i} for i in range(3)])
    hub([{"problem": f"p{i}", "answer": i} for i in range(3)])
    sources = {"set": Source(hub="me/set", split="test")}
    here = load_problems("set", folder=tmp_path)
    there = load_problems("set", folder=None, sources=sources)
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
def test_other_content_than_the_sources_is_refused(tmp_path: Path, limit: int | None) -> None:
    path = write(tmp_path, ROWS)
    expected = content_hash(load_problems("set", folder=tmp_path))

    def load(sha256: str) -> list[Problem]:
        source = Source(hub="me/set", split="test", sha256=sha256)
        return load_problems("set", folder=tmp_path, sources={"set": source}, limit=limit)

    assert load(expected)[0].id == "a"
    with pytest.raises(DataError, match=f"hash is {expected}, expected {'0' * 64}") as error:
        load("0" * 64)
    assert str(path) in str(error.value)


# The real ones, where they are


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_local_copies_of_the_benchmarks(name: str, size: int) -> None:
    if not BENCHMARKS.is_dir():
        pytest.skip(f"no copies of the benchmarks in {BENCHMARKS} (KPO_BENCHMARKS names a folder)")
    problems = load_problems(name, folder=BENCHMARKS)
    assert len(problems) == size
    assert all(p.problem.strip() and p.answer.strip() for p in problems)
