"""The policy: a Hugging Face causal model, its tokenizer, and log-probs of responses.

Deviation: dropout and router noise are off while sampling, scoring and training, so that ratios are
1 until a weight moves. Models of the paper's kind have none.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import GenerationConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from kpo.common.files import sha256_file
from kpo.model.files import ModelError, naming, read_config, read_tokenizer
from kpo.model.head import LogitRule, token_logprobs, token_logprobs_and_entropies
from kpo.model.packing import ATTENTION, Packed, pack

WINDOWED = {"full_attention", "sliding_attention"}
"""Kinds of layers that packed attention has; see `kpo.model.packing.attention`."""


@dataclass(frozen=True)
class Policy:
    """A causal language model with its tokenizer; `eos` are the ids that end a response.

    The model is in evaluation mode and stays there: with dropout or router noise the new log-probs
    of an update would differ from the old at unchanged weights.

    Raises ModelError for a model whose log-probs could not be computed as `Scorer` does.
    """

    model: Any
    tokenizer: Any
    eos: frozenset[int]
    scorer: Scorer = field(init=False)

    def __post_init__(self) -> None:
        check_architecture(self.model)
        self.model.eval()
        self.model.set_attn_implementation(ATTENTION)
        object.__setattr__(self, "scorer", Scorer(self.model))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


class Scorer(nn.Module):
    """Transformer and LM head as one module, the one that FSDP wraps: packed tokens to log-probs.

    Its parameters are the model's own.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.rule = LogitRule.of(model.config)

    def forward(self, packed: Packed, *, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the M response tokens and, if asked for, entropies, in nats; both [M]."""
        nothing = packed.ids.new_empty(1, 1, 0, 0, dtype=torch.bool)  # no mask need be made
        hidden = self.model.get_decoder()(
            input_ids=packed.ids,
            position_ids=packed.positions,
            attention_mask=nothing,
            use_cache=False,
            packed=packed,
        ).last_hidden_state[0]
        # Only the positions that predict a response token reach the LM head.
        hidden = hidden.index_select(0, packed.predicts)
        weight = self.model.get_output_embeddings().weight
        if entropy:
            return token_logprobs_and_entropies(hidden, weight, packed.targets, self.rule)
        return token_logprobs(hidden, weight, packed.targets, self.rule), None


def layers(model: Any) -> list[Any]:
    """The transformer's layers, in order."""
    modules = model.get_decoder().modules()
    return [module for module in modules if isinstance(module, GradientCheckpointingLayer)]


def recompute(model: Any) -> None:
    """Let the backward pass compute every layer's activations again; only its input is kept.

    transformers has a switch for that, but it works in training mode alone, where dropout is on,
    and there it drops the KV cache of whoever samples.
    """
    for layer in layers(model):
        # Nothing in a layer is random, so no random state need be kept either.
        again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
        layer.forward = partial(again, layer.forward)


def check_architecture(model: Any) -> None:
    """Raise ModelError for what packed attention or the chunked LM head is known not to have.

    The rest shows where a model has weights: see `kpo.model.loading`.
    """
    config, head = model.config, model.get_output_embeddings()
    kinds = set(getattr(config, "layer_types", None) or []) - WINDOWED
    faults = {
        "is more than a text model": config.get_text_config() is not config,
        "has no LM head": head is None,
        "has a bias at its LM head": getattr(head, "bias", None) is not None,
        f"has layers of {', '.join(sorted(kinds))}": kinds,
        "has an attention of its own": not getattr(model, "_supports_attention_backend", False),
        "has other layers than its number of them says": (
            len(layers(model)) != config.num_hidden_layers
        ),
    }
    for fault, present in faults.items():
        if present:
            raise ModelError(f"{config.model_type} {fault}: such models are not supported")


def load_tokenizer(path: Path) -> tuple[Any, frozenset[int]]:
    """The tokenizer of a model folder, and every token id that ends a response.

    Raises ModelError for a folder that is not understood, or if neither the model's configuration
    nor the tokenizer names such a token.
    """
    with naming(path):
        configs, tokenizer = [read_config(path)], read_tokenizer(path)
        if (path / "generation_config.json").is_file():
            configs.append(GenerationConfig.from_pretrained(path))
    named = [tokenizer.eos_token_id, *(config.eos_token_id for config in configs)]
    ids = (i for ids in named for i in (ids if isinstance(ids, list) else [ids]))
    if not (eos := frozenset(ids) - {None}):
        raise ModelError(f"{path}: neither the model nor its tokenizer names an end-of-text token")
    return tokenizer, eos


def save_model(
    model: Any, tokenizer: Any, path: Path, state: dict[str, Tensor] | None = None
) -> None:
    """Write model (safetensors) and tokenizer in Hugging Face format into a folder.

    `state` are the weights to write; by default, the model's own.
    """
    model.generation_config = _writable(model.generation_config)
    model.save_pretrained(path, state_dict=state)
    tokenizer.save_pretrained(path)


def _writable(generation: Any) -> Any:
    """A generation configuration that transformers will write, with the same end tokens.

    It refuses what it reads with a warning: sampling parameters without `do_sample`, and the like.
    """
    sampling = copy.deepcopy(generation)
    sampling.do_sample = True
    for candidate in (generation, sampling):
        with contextlib.suppress(ValueError):
            candidate.validate(strict=True)
            return candidate
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    return type(generation)(**{name: getattr(generation, name) for name in ids})


def weights_hash(path: Path) -> str:
    """Hash over the safetensors files of a model folder."""
    return "+".join(sha256_file(file) for file in sorted(path.glob("*.safetensors")))


def response_logprobs(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    *,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Log-probs of response tokens under the policy, at temperature 1.

    Prompts and responses are B token lists, each with at least one token. Returns
    log pi(y_t | x, y_<t) [B, T] in nats, at least float32, with gradient in the current mode; if
    asked for, which gives up the gradient, the entropy of the distribution at each token [B, T] in
    nats, else None; and the mask [B, T]. T is the longest response; values are 0 behind its end.
    """
    packed = pack(prompts, responses, policy.device)
    logprobs, entropies = policy.scorer(packed, entropy=entropy)
    aligned = None if entropies is None else packed.align(entropies)
    return packed.align(logprobs), aligned, packed.mask
