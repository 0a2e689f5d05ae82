"""A run as a model for others: the same model, what its card says, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from kpo import export
from tests.evals.demo import write_rows
from tests.evals.sharing.uploads import TOKEN, FakeHub
from tests.kpo.models import tiny_policy


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """One that a test may spoil."""
    shutil.copytree(trained.parents[1], tmp_path / "tiny")
    return tmp_path / "tiny/runs/gspo-s1"


def card(folder: Path) -> tuple[dict[str, Any], str]:
    _, header, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(header), body


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_transformers_load_the_same_model(run: Path, tmp_path: Path) -> None:
    export.main([str(run), "--out", str(tmp_path / "model")])
    folders = (run / "model", tmp_path / "model")
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in folders]
    ids = [tokenizer("12+3=?\n", return_tensors="pt")["input_ids"] for tokenizer in tokenizers]
    assert torch.equal(*ids)
    models = [AutoModelForCausalLM.from_pretrained(folder, dtype="auto") for folder in folders]
    logits = [model(input_ids=ids[0]).logits for model in models]
    assert torch.equal(*logits)
    own = tiny_policy(seed=3).model(input_ids=ids[0]).logits
    assert torch.allclose(logits[1], own, atol=1e-5)


def test_the_folder_stands_in_the_run_where_nothing_is_said(run: Path) -> None:
    export.main([str(run)])
    names = {path.name for path in (run / "export").iterdir()}
    assert names == {
        *(path.name for path in (run / "model").iterdir() if path.name[0] != "."),
        *("README.md", "manifest.json", "run.yaml"),
    }
    (run / "export/old.safetensors").touch()
    export.main([str(run)])
    assert not (run / "export/old.safetensors").exists()


def test_the_card_says_how_it_was_trained_and_how_it_scores(run: Path) -> None:
    export.main([str(run)])
    facts, body = card(run / "export")
    assert (facts["library_name"], facts["base_model"]) == ("transformers", "Qwen/Qwen3-4B")
    ((result,),) = [entry["results"] for entry in facts["model-index"]]
    assert result["dataset"]["name"] == "easy"
    assert result["metrics"] == [
        {"type": "avg@2", "value": 25.0},
        {"type": "pass@2", "value": 50.0},
    ]
    assert "from Qwen/Qwen3-4B@0123 with the objective `gspo` (clip_low 0.0003, clip_high" in body
    assert "| easy | 25.0 | 50.0 | 2 |" in body
    assert "vllm serve owner/name --dtype float32 --generation-config vllm" in body
    assert "prompt = '{problem}\\n'.replace" in body
    assert "collapsed" not in body and str(run) not in body


def test_the_card_says_what_is_not_known_and_what_went_wrong(run: Path) -> None:
    (run / "config.yaml").unlink()
    (run.parents[1] / "base/manifest.json").unlink()
    change(run.parents[1] / "evals/gspo-s1/manifest.json", model="another")
    write_rows(run / "metrics.jsonl", [{"reward": 0.5}, *[{"reward": 0.1}] * 5])
    learning = {"steps": 2, "still_steps": 2, "moved_weights": 0.0}
    change(run / "manifest.json", learning=learning, method="gspo")
    export.main([str(run)])
    facts, body = card(run / "export")
    assert "base_model" not in facts and "model-index" not in facts
    assert "from a base policy with the objective `gspo`, seed 1" in body
    assert "**This run collapsed**" in body
    assert "**This run learnt nothing**" in body
    assert "| easy |" not in body
    assert "run.yaml" not in body


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        export.main(arguments)
    return capsys.readouterr().err


def test_what_is_no_finished_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "model/model.safetensors").write_bytes(b"torn")
    told = refusal(capsys, str(run))
    assert told == f"error: {run}: model/ holds other weights than its manifest.json names\n"
    (run / "manifest.json").unlink()
    told = refusal(capsys, str(run))
    assert told == f"error: {run}: no finished run: it has no manifest.json\n"
    assert not (run / "export").exists()


def test_the_upload_holds_the_folder_and_no_token(
    run: Path, fake_hub: type[FakeHub], capsys: pytest.CaptureFixture[str]
) -> None:
    export.main([str(run), "--push", "me/model"])
    (upload,) = fake_hub.uploads
    assert (upload["repo_id"], upload["repo_type"]) == ("me/model", "model")
    assert upload["files"].keys() == {path.name for path in (run / "export").iterdir()}
    assert b'from_pretrained("me/model"' in upload["files"]["README.md"]
    assert not any(TOKEN.encode() in content for content in upload["files"].values())
    told = capsys.readouterr()
    assert told.out == "https://hub/me/model\n"
    assert TOKEN not in told.out + told.err
