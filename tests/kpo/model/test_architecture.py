"""Architectures without weights: stated, from a folder, from a wheel; and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from kpo.config.policy import Architecture, PretrainedPolicy, ScratchPolicy, Wheel
from kpo.model.architecture import architecture, check_stated
from kpo.model.files import ModelError
from kpo.model.policy import save_model
from kpo.trainer.base_policy import pretrained, scratch_policy
from tests.kpo.models import tiny_policy

SMALL = Architecture(
    hidden_size=32,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=32,
    feed_forward=48,
    vocabulary=98,
    positions=128,
    tied=False,
)


def pretrained_policy(model: str | Path, stated: Architecture | None = None) -> PretrainedPolicy:
    return PretrainedPolicy(kind="pretrained", model=str(model), architecture=stated)


def differing(**changes: Any) -> Architecture:
    return SMALL.model_copy(update=changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, path)
    return path


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(AutoConfig, "from_pretrained", unreachable)
    monkeypatch.setattr("kpo.model.architecture.hub_answers", lambda: False)


def test_a_scratch_policys_is_that_of_the_model_made() -> None:
    settings = ScratchPolicy(kind="scratch", layers=1)
    found, made = architecture(settings).to_dict(), scratch_policy(settings).model.config.to_dict()
    for name in ("dtype", "architectures", "_attn_implementation"):
        found.pop(name, None), made.pop(name, None)
    assert found == made


@pytest.mark.usefixtures("_no_hub")
def test_a_stated_architecture_needs_no_hub() -> None:
    config = architecture(pretrained_policy("nowhere/at-all", SMALL))
    assert (config.model_type, config.num_hidden_layers, config.vocab_size) == ("qwen3", 2, 98)
    check_stated(pretrained_policy("x", SMALL), config)


@pytest.mark.usefixtures("_no_hub")
def test_without_hub_and_statement_there_is_none() -> None:
    with pytest.raises(ModelError, match=r"'nowhere/at-all' .*under policy.architecture"):
        architecture(pretrained_policy("nowhere/at-all"))


def test_a_folders_is_read(folder: Path) -> None:
    assert architecture(pretrained_policy(folder)).hidden_size == 32


@pytest.mark.parametrize("answers", [True, False])
def test_a_hub_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    asked = []
    monkeypatch.setattr("kpo.model.architecture.read_config", lambda *_, **kw: asked.append(kw))
    monkeypatch.setattr("kpo.model.architecture.hub_answers", lambda: answers)
    architecture(pretrained_policy("some/model"))
    assert [options["local_files_only"] for options in asked] == [not answers]


def test_the_wheels_is_read_where_there_is_no_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def read(path: Any, **options: Any) -> Any:
        if options.get("gguf_file") != "weights.gguf":
            raise OSError("no connection")
        return path

    monkeypatch.setattr(AutoConfig, "from_pretrained", read)
    monkeypatch.setattr("kpo.model.architecture.hub_answers", lambda: False)
    monkeypatch.setattr("kpo.model.architecture.fetch_gguf", lambda *_: tmp_path / "weights.gguf")
    wheel = Wheel(package="p", version="1", sha256="0" * 64, gguf="weights.gguf")
    assert architecture(PretrainedPolicy(kind="pretrained", model="m", wheel=wheel)) == tmp_path


def test_the_base_policy_is_what_is_stated(folder: Path) -> None:
    model, _, _ = pretrained(pretrained_policy(folder, SMALL))
    assert model.config.num_hidden_layers == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 3}, "layers 3 instead of 2"),
        ({"tied": True, "positions": 64}, "positions 64 instead of 128, tied True instead of"),
    ],
)
def test_another_model_than_stated_is_refused(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=rf"policy.architecture is not .*{words}"):
        pretrained(pretrained_policy(folder, differing(**changes)))


def test_another_family_than_stated_is_refused() -> None:
    config = tiny_policy("llama").model.config
    with pytest.raises(ModelError, match="model_type qwen3 instead of llama"):
        check_stated(pretrained_policy("x", SMALL), config)
