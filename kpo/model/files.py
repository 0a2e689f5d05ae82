"""Models as they lie in a folder or on the hub: read, or refused in one sentence.

No code that a model brings along is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from kpo.common.cli import UserError


class ModelError(UserError):
    """A model that cannot be had, or that this code would not compute as its own does."""


def read_config(source: str | Path, **where: Any) -> Any:
    """The configuration of a causal language model.

    Raises OSError where there is none, ModelError for another kind of model.
    """
    stated, _ = transformers.PreTrainedConfig.get_config_dict(source, **where)
    kind = stated.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        unknown = f"that transformers {transformers.__version__} does not know"
        named = f"a model_type, {kind!r}, {unknown}" if kind else "no model_type"
        own = "; the code that it brings along is not run" if "auto_map" in stated else ""
        raise ModelError(f"{source}: config.json names {named}{own}")
    with _understood(f"{source}: config.json"):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **where)
    if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(f"{source}: a model of type {kind} is no causal language model")
    return config


def read_tokenizer(source: str | Path, **where: Any) -> Any:
    """A model's tokenizer. Raises OSError where there is none, ModelError for an unknown one."""
    with _understood(f"{source}: its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **where)
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise ModelError(f"{source}: its tokenizer has no words: are its files there?")
    return tokenizer


def read_model(source: str | Path, *, dtype: str, **where: Any) -> Any:
    """A causal language model with its weights; `dtype` is theirs, or `auto`: as they are stored.

    Raises OSError where there is none, ModelError for one that is torn or lacks weights, which
    transformers would make up at random.
    """
    with _understood(f"{source}: its weights"):
        model, found = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, trust_remote_code=False, output_loading_info=True, **where
        )
    if missing := sorted(found["missing_keys"]):
        raise ModelError(f"{source}: its files lack {len(missing)} weights, such as {missing[0]}")
    return model


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Errors about a model as ModelErrors that name its folder."""
    try:
        yield
    except (OSError, ModelError) as error:
        text = str(error)
        raise ModelError(text if text.startswith(f"{folder}:") else f"{folder}: {text}") from error


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """What transformers raises for files that it does not understand as a ModelError."""
    try:
        yield
    except OSError:  # no such file, which may be made good
        raise
    except Exception as error:  # of a dozen classes that have no other in common
        raise ModelError(f"{what} cannot be read: {' '.join(str(error).split())}") from error
