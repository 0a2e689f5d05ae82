"""A model's layers, and how to compute their activations again instead of keeping them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


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
