"""Nested values with tensors in them, to the last bit, as two files: JSON and safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

_TENSOR = "__tensor__"  # the only key of what stands for a tensor


def write_values(stem: Path, value: Any) -> None:
    """Write `stem`.json and `stem`.safetensors.

    `value` holds what JSON knows, tensors, and dataclasses, which come back as dicts.
    """
    tensors: dict[str, Tensor] = {}

    def stand_in(part: Any) -> dict[str, Any]:
        if not isinstance(part, Tensor):
            return vars(part)
        name = f"{len(tensors)}"
        tensors[name] = part.detach().cpu().contiguous()
        return {_TENSOR: name}

    text = json.dumps(value, default=stand_in)
    stem.with_suffix(".json").write_text(text, encoding="utf-8")
    save_file(tensors, stem.with_suffix(".safetensors"))


def read_values(stem: Path) -> Any:
    """The inverse of `write_values`; tensors lie in main memory."""
    tensors = load_file(stem.with_suffix(".safetensors"))

    def in_place(part: dict[str, Any]) -> Any:
        return tensors[part[_TENSOR]] if part.keys() == {_TENSOR} else part

    text = stem.with_suffix(".json").read_text(encoding="utf-8")
    return json.loads(text, object_hook=in_place)
