"""A data set of an experiment: it loads, it can be compared with, and nothing secret is in it."""

import json
from pathlib import Path

import pytest
import yaml

from kpo.evals import publish
from kpo.evals.table import FILES
from tests.evals.demo import SKILL
from tests.evals.sharing.halves import OWN, STORED, compared, lines, part
from tests.evals.sharing.uploads import TOKEN, FakeHub


@pytest.fixture
def experiment(root: Path) -> Path:
    folder = part(root, "mine", [*STORED, *OWN])
    for path in folder.glob("*/*/manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "experiment": "mine"}))
    return folder


def published(experiment: Path, out: Path, *more: str) -> Path:
    publish.main(["--experiment", str(experiment), "--out", str(out), *more])
    return out


def test_it_holds_all_tables_manifests_and_a_card(experiment: Path, tmp_path: Path) -> None:
    out = published(experiment, tmp_path / "set")
    names = {path.name for path in out.iterdir()}
    assert names == {*FILES, "manifests.json", "README.md"}
    for name in FILES:
        assert (out / name).read_bytes() == (experiment / name).read_bytes()
    _, header, body = (out / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["pretty_name"] == "KPO and baselines: mine"
    assert {c["data_files"] for c in facts["configs"]} == {n for n in FILES if n.endswith(".csv")}
    assert "12 training runs of 4 methods" in body
    assert "4 answers to each of 15 problems" in body
    table = next(
        line for line in (experiment / "table1.md").read_text().splitlines() if "| GRPO" in line
    )
    assert table in body


def test_datasets_loads_every_table(experiment: Path, tmp_path: Path) -> None:
    from datasets import load_dataset  # noqa: PLC0415 - slow to import

    out = published(experiment, tmp_path / "set")
    _, header, _ = (out / "README.md").read_text().split("---\n", 2)
    for config in yaml.safe_load(header)["configs"]:
        cache = str(tmp_path / "cache")
        rows = load_dataset(str(out), config["config_name"], split="train", cache_dir=cache)
        expected = lines(out / config["data_files"])
        assert (rows.num_rows, rows.column_names) == (len(expected), [*expected[0]])
    scores = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert scores["base"] == [int(line["base"]) for line in lines(out / "scores.csv")]
    assert len(scores.column_names) == 3 + 1 + 3 * (len(SKILL) - 1)


def test_it_can_be_compared_with(
    root: Path, experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = published(experiment, tmp_path / "set")
    for path in (root / "results/demo/evals").glob("kpo-clipped-s*/manifest.json"):
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "model": path.parent.name[::-1]})
        )
        training = root / "results/demo/runs" / path.parent.name / "manifest.json"
        weights = {"weights": path.parent.name[::-1]}
        training.write_text(json.dumps({**json.loads(training.read_text()), **weights}))
    text = compared(capsys, part(root, "again", ["kpo-clipped"]), out)
    assert "KPO-clipped, stored" in text and "## Differences" in text


def refusal(capsys: pytest.CaptureFixture[str], experiment: Path, out: Path, *more: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        published(experiment, out, *more)
    return capsys.readouterr().err


def test_a_folder_that_is_something_else_is_left_alone(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("x")
    assert "was not made by this command" in refusal(capsys, experiment, tmp_path / "thesis")
    assert (tmp_path / "thesis/chapter.tex").read_text() == "x"
    out = published(experiment, tmp_path / "set")
    (out / "table1.tex").unlink()
    assert (published(experiment, out) / "table1.tex").is_file()


def test_an_experiment_that_is_not_whole_is_not_published(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (experiment / "curves.csv").unlink()
    told = refusal(capsys, experiment, tmp_path / "set")
    assert told == f"error: {experiment}: curves.csv is missing; run the experiment first\n"
    assert not (tmp_path / "set").exists()


def test_the_upload_holds_the_folder_and_no_token(
    experiment: Path, tmp_path: Path, fake_hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    out = published(experiment, tmp_path / "set", "--push", "me/results")
    (upload,) = fake_hub.uploads
    assert (upload["repo_id"], upload["repo_type"]) == ("me/results", "dataset")
    assert upload["files"].keys() == {path.name for path in out.iterdir()}
    assert b'load_dataset("me/results"' in upload["files"]["README.md"]
    assert not any(TOKEN.encode() in content for content in upload["files"].values())
    told = capsys.readouterr()
    assert told.out.endswith("https://hub/me/results\n")
    assert TOKEN not in told.out + told.err


def test_what_the_hub_refuses_is_said_without_the_token(
    experiment: Path,
    tmp_path: Path,
    fake_hub: type[FakeHub],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fake_hub, "error", OSError(f"403 for Bearer {TOKEN}\nmore"))
    told = refusal(capsys, experiment, tmp_path / "set", "--push", "me/results")
    assert told == "error: --push me/results: 403 for Bearer (token)\n"


def test_a_hub_that_is_not_there(
    experiment: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    told = refusal(capsys, experiment, tmp_path / "set", "--push", "me/results")
    assert told.startswith("error: --push me/results: ") and told.count("\n") == 1
    assert TOKEN not in told


@pytest.mark.parametrize("name", ["HF_TOKEN", "WANDB_API_KEY", "DATABASE_PASSWORD"])
def test_a_secret_in_a_file_stops_it(
    experiment: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, TOKEN)
    path = experiment / "runs/grpo-s0/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": TOKEN}))
    told = refusal(capsys, experiment, tmp_path / "set")
    assert "manifests.json would hold" in told and TOKEN not in told
    assert not (tmp_path / "set").exists()


def test_nothing_is_made_without_a_token_or_a_name(
    experiment: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    told = refusal(capsys, experiment, tmp_path / "set", "--push", "me/results")
    assert told == "error: --push: there is no token for the hub: `hf auth login`, or HF_TOKEN\n"
    told = refusal(capsys, experiment, tmp_path / "set", "--push", "results")
    assert told == "error: --push results: must be owner/name, as on the hub\n"
    assert not (tmp_path / "set").exists()
