"""A policy's architecture, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session
from transformers import AutoConfig, Qwen3Config

from kpo.config.limits import LEAST_POSITIONS
from kpo.config.policy import Architecture, PretrainedPolicy, ScratchPolicy
from kpo.model.files import ModelError, read_config
from kpo.model.wheel import fetch_gguf
from kpo.tasks.tokenizer import character_tokenizer

PATIENCE_S = 5.0
"""For an answer of the hub, whose client tries for half a minute."""

# The experiment file's names -> those of transformers.
_NAMES = {
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "feed_forward": "intermediate_size",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "tied": "tie_word_embeddings",
}


def architecture(policy: ScratchPolicy | PretrainedPolicy, positions: int = LEAST_POSITIONS) -> Any:
    """The policy's configuration as transformers has it; nothing is loaded but that.

    It is what the file states, else the folder's or the hub's, else the wheel's. A policy from
    scratch is a Qwen3 for the character tokenizer, with so many `positions`. Raises ModelError
    where the configuration cannot be had or is not understood.
    """
    if isinstance(policy, ScratchPolicy):
        tokenizer = character_tokenizer()
        return _qwen3(
            policy,
            vocab_size=len(tokenizer),
            initializer_range=policy.initializer_range,
            max_position_embeddings=positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    if policy.architecture is not None:
        return _qwen3(policy.architecture)
    source, options = origin(policy)
    try:
        return read_config(source, **options)
    except OSError as error:
        if policy.wheel is None:
            raise ModelError(
                f"policy.model {policy.model!r} cannot be read, neither as a folder nor from the"
                f" hub: state its shape under policy.architecture: {error}"
            ) from error
        path = fetch_gguf(policy.wheel)
        return AutoConfig.from_pretrained(path.parent, gguf_file=path.name)


def origin(policy: PretrainedPolicy) -> tuple[str | Path, dict[str, Any]]:
    """Where a model comes from: a folder or a hub id, and the options that transformers needs.

    Raises ModelError for a folder with a revision, which would pin nothing.
    """
    folder = Path(policy.model).expanduser()
    if not folder.is_dir():  # a copy of the hub's counts as here
        return policy.model, {"revision": policy.revision, "local_files_only": not hub_answers()}
    if policy.revision is not None:
        raise ModelError(
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


def check_stated(policy: PretrainedPolicy, config: Any) -> None:
    """Raise ModelError where the model is another than `policy.architecture` states."""
    if policy.architecture is None:
        return
    stated, wrong = _qwen3(policy.architecture), []
    for key, name in {"model_type": "model_type", **_NAMES}.items():
        told, found = getattr(stated, name), getattr(config, name, None)
        if told != found:
            wrong.append(f"{key} {told} instead of {found}")
    if wrong:
        raise ModelError(
            f"policy.architecture is not that of {policy.model!r}: it states {', '.join(wrong)}"
        )


def _qwen3(shape: ScratchPolicy | Architecture, **more: Any) -> Any:
    stated = {name: getattr(shape, key) for key, name in _NAMES.items() if hasattr(shape, key)}
    return Qwen3Config(**stated, **more)
