"""Tiny random models for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.gpt_neox import GPTNeoXConfig, GPTNeoXForCausalLM

from kpo.model.policy import Policy
from kpo.tasks.tokenizer import character_tokenizer

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,  # far from uniform, so that a wrong token shows
}
GROUPED = {"num_key_value_heads": 2}
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"num_key_value_heads": 2, "head_dim": 32}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"num_key_value_heads": 1}),
    "llama": (LlamaConfig, LlamaForCausalLM, {"num_key_value_heads": 2, "attention_bias": True}),
    "mistral": (MistralConfig, MistralForCausalLM, {**GROUPED, "sliding_window": 6}),
    "gemma2": (  # a window in every other layer, soft caps for scores and logits
        Gemma2Config,
        Gemma2ForCausalLM,
        {**GROUPED, "head_dim": 8, "sliding_window": 6, "final_logit_softcapping": 3.0}
        | {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    ),
    "granite": (GraniteConfig, GraniteForCausalLM, {**GROUPED, "logits_scaling": 1.5}),
    "gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM, {}),
    "gpt2": (GPT2Config, GPT2LMHeadModel, {}),  # with dropout
    "mixtral": (
        MixtralConfig,
        MixtralForCausalLM,
        {"num_key_value_heads": 2, "num_local_experts": 3, "router_jitter_noise": 0.3},
    ),
}


def tiny_policy(family: str = "qwen3", seed: int = 0) -> Policy:
    """A random model of an architecture with the character tokenizer."""
    config_class, model_class, extra = FAMILIES[family]
    tokenizer = character_tokenizer()
    torch.manual_seed(seed)
    config = config_class(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **SHAPE,
        **extra,
    )
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # biases start at 0, which would hide that one is dropped
            torch.nn.init.normal_(parameter, std=0.3)
    return Policy(model, tokenizer, frozenset([tokenizer.eos_token_id]))


def unusual_policy(family: str, *, tied: bool = False) -> Policy:
    """Nothing at its default: random gains of norms, a large epsilon, tied or not, two ends."""
    usual = tiny_policy(family)
    config = usual.model.config
    config.tie_word_embeddings = tied
    config.rms_norm_eps = 1e-2
    torch.manual_seed(1)
    model = type(usual.model)(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
        elif parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 2.0)
    model.generation_config.eos_token_id = [*usual.eos, 7]  # which its configuration does not say
    return Policy(model, usual.tokenizer, frozenset([*usual.eos, 7]))


def edit(path: Path, **changes: Any) -> None:
    """Change entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
