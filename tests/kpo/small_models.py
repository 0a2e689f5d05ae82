"""Every causal language model that transformers knows, as small as its configuration lets it be."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

KINDS: list[str] = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
MOST_PARAMETERS = 1_000_000
SIZES = {
    "vocab_size": 98,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "sliding_window": 8,
    "embedding_size": 32,
    "word_embed_proj_dim": 32,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
"""Where a configuration has these, they are small."""
SPREAD = {"initializer_range": 0.3, "init_std": 0.3}
"""Far from uniform, so that a wrong token shows."""
TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
AS_RELEASED: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "minimax_m3_vl_text": {"layer_types": ["full_attention", "minimax_m3_sparse"]},
}
"""What released models have, but no configuration has by default."""


def small_config(kind: str) -> Any:
    """A small configuration with a layer of the first and of the last of its kinds."""
    make = CONFIG_MAPPING[kind]
    usual = make()
    settings: dict[str, Any] = {
        name: value
        for name, value in {**SIZES, **SPREAD}.items()
        if getattr(usual, name, None) is not None
    }
    if hasattr(usual, "kv_lora_rank"):
        settings["num_key_value_heads"] = SIZES["num_attention_heads"]
    if types := getattr(usual, "layer_types", None):
        kinds = list(dict.fromkeys(types))
        settings["layer_types"] = [kinds[0], kinds[-1]]
    rope = getattr(usual, "rope_parameters", None)
    if isinstance(rope, dict) and rope.get("rope_theta", 1.0) is None:
        settings["rope_parameters"] = {"rope_type": "default", "rope_theta": 10_000.0}
    return make(**{**settings, **TOKENS, **AS_RELEASED.get(kind, {})})


def small_model(kind: str) -> Any:
    """A random model, with biases and gains that are not at their neutral values.

    Raises whatever its configuration or code raises; ValueError where it is not small.
    """
    config = small_config(kind)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{size} parameters")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.float()
