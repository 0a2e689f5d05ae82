"""Model folders of all kinds: read, or refused in one sentence before any work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file
from transformers import BertConfig, GenerationConfig, PreTrainedConfig

from kpo import base, preflight
from kpo.config.policy import PretrainedPolicy
from kpo.model.architecture import architecture, origin
from kpo.model.files import ModelError, read_config
from kpo.model.loading import load_policy
from kpo.model.policy import load_tokenizer, save_model
from tests.kpo.config.experiments import HUB, changed
from tests.kpo.models import edit, tiny_policy


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder that a test may spoil."""
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, tmp_path / "model")
    return tmp_path / "model"


def make_base(model: Path, **changes: Any) -> Path:
    """The base policy from a folder, by the command line."""
    out = model.parent / "base"
    content = changed(HUB, "policy/model", str(model))
    for path, value in changes.items():
        content = changed(content, path.replace("__", "/"), value)
    config = model.parent / "small.yaml"
    config.write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["kpo.base", "--config", str(config), "--out", str(out)])
        base.main()
    return out


def refusal(model: Path, capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    """What the command line says, with exit code 2 and without a base policy."""
    with pytest.raises(SystemExit) as end:
        make_base(model, **changes)
    assert end.value.code == 2
    assert not (model.parent / "base").exists()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("error: ")


def test_a_folder_becomes_the_base_policy(model: Path) -> None:
    out = make_base(model)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["origin"] == "a folder"
    assert load_policy(out).model.config.model_type == "qwen3"


# Refused by the base rule already, as training would


def test_a_model_that_training_will_refuse(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(model / "config.json", final_logit_softcapping=3.0)  # which its code does not do
    said = refusal(model, capsys)
    assert "qwen3: packed log-probs differ from the model's own by" in said


def test_sequences_longer_than_the_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(model, capsys, train__max_response_tokens=200)
    assert said.endswith("is 224, more than the model's 128 positions: lower either")


def test_no_end_token(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(model / "config.json", eos_token_id=None)
    edit(model / "tokenizer_config.json", eos_token=None)
    edit(model / "generation_config.json", eos_token_id=None)
    assert "neither the model nor its tokenizer names an end-of-text token" in refusal(
        model, capsys
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": None}, "config.json names no model_type"),
        ({"model_type": "new"}, "config.json names a model_type, 'new', that transformers "),
        (
            {"model_type": "new", "auto_map": {"AutoConfig": "own.Config"}},
            "does not know; the code that it brings along is not run",
        ),
        ({"num_attention_heads": "many"}, "config.json cannot be read: "),
    ],
)
def test_a_configuration_that_is_not_understood(
    model: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], words: str
) -> None:
    edit(model / "config.json", **changes)
    said = refusal(model, capsys)
    assert said.startswith(f"{model}: ")
    assert words in said
    with pytest.raises(ModelError, match=re.escape(str(model))):
        load_policy(model)


def test_preflight_says_the_same(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(model / "config.json", model_type=None)
    config = model.parent / "small.yaml"
    config.write_text(yaml.safe_dump(changed(HUB, "policy/model", str(model))))
    monkeypatch.setattr(sys, "argv", ["kpo.preflight", "--config", str(config)])
    with pytest.raises(SystemExit) as end:
        preflight.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {model}: config.json names no model_type\n"


def test_code_that_a_known_model_brings_along_is_not_run(model: Path) -> None:
    (model / "own.py").write_text("raise SystemExit('run')")
    edit(model / "config.json", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    assert load_policy(model).model.config.model_type == "qwen3"


def test_another_kind_of_model(tmp_path: Path) -> None:
    PreTrainedConfig.from_dict({"model_type": "clip"}).save_pretrained(tmp_path)
    edit(tmp_path / "config.json", model_type="clip")
    with pytest.raises(ModelError, match="a model of type clip is no causal language model"):
        read_config(tmp_path)
    BertConfig().save_pretrained(tmp_path)
    assert read_config(tmp_path).model_type == "bert"  # has a decoder; the rest shows later


def test_a_tokenizer_that_is_missing_or_not_understood(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "tokenizer.json").write_text("{}")
    assert f"{model}: its tokenizer cannot be read: " in refusal(model, capsys)
    for file in model.glob("tokenizer*"):
        file.unlink()
    assert f"{model}: its tokenizer has no words" in refusal(model, capsys)
    with pytest.raises(ModelError, match=re.escape(str(model))):
        load_tokenizer(model)


def test_weights_that_are_lacking_are_not_made_up(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = model.glob("*.safetensors")
    weights = load_file(file)
    del weights["model.norm.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    assert "its files lack 1 weights, such as model.norm.weight" in refusal(model, capsys)


def test_weights_that_are_torn(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = model.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    assert f"{model}: its weights cannot be read: " in refusal(model, capsys)


def test_a_folder_has_no_revision(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(model, capsys, policy__revision="abc")
    assert said.startswith("policy.revision is 'abc', but policy.model")
    settings = PretrainedPolicy(kind="pretrained", model=str(model), revision="abc")
    with pytest.raises(ModelError, match="is a local folder, which has no revisions"):
        architecture(settings)


def test_a_home_folder_may_be_a_tilde(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    settings = PretrainedPolicy(kind="pretrained", model="~/model")
    assert origin(settings) == (model, {})
    assert architecture(settings).model_type == "qwen3"


# Written again


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0.6}, {"temperature": 0.6, "top_k": 20, "top_p": 0.95}, {"top_k": 5}],
    ids=str,
)
def test_sampling_settings_without_do_sample(model: Path, settings: dict[str, Any]) -> None:
    edit(model / "generation_config.json", **settings)
    written = GenerationConfig.from_pretrained(make_base(model))
    assert written.do_sample is True
    assert written.eos_token_id == 1
    assert {key: getattr(written, key) for key in settings} == settings


def test_generation_settings_that_contradict_each_other(model: Path) -> None:
    edit(model / "generation_config.json", num_beams=1, early_stopping=True, eos_token_id=[1, 7])
    out = make_base(model)
    written = GenerationConfig.from_pretrained(out)
    assert written.eos_token_id == [1, 7]
    assert not written.early_stopping
    assert load_tokenizer(out)[1] == {1, 7}
