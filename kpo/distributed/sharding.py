"""A policy's weights over the ranks, by FSDP2: each holds a part in float32 and computes with all.

Weights are gathered layer by layer in the compute dtype; gradients are averaged over ranks, and
added up, in float32. Of several nodes each has all the weights, over its own ranks, so that none
are gathered from another machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from kpo.distributed.ranks import Ranks
from kpo.model.policy import Policy, layers, save_model


def needs_sharding(world: int, dtype: str) -> bool:
    """Whether weights lie over several ranks, or are kept in another precision than computed in."""
    return world > 1 or dtype != "float32"


def shard(policy: Policy, ranks: Ranks, dtype: str) -> Policy:
    """The policy as it is trained: masters in float32, computed in `dtype`, over a node's ranks.

    One rank in float32 needs no FSDP and gets none. The policy's model is changed in place, layer
    by layer, so that the float32 copy of no more than a layer exists beside the shards.
    """
    if not needs_sharding(ranks.size, dtype):
        policy.model.float().to(ranks.device)
        return policy
    if not dist.is_initialized():  # one rank in half precision
        dist.init_process_group(
            "nccl" if ranks.device.type == "cuda" else "gloo",
            store=dist.HashStore(),  # type: ignore[attr-defined]
            rank=0,
            world_size=1,
        )
    kind, each = ranks.device.type, ranks.size // ranks.nodes
    if ranks.nodes == 1:
        mesh = init_device_mesh(kind, (each,))
    else:  # ranks are numbered node by node
        mesh = init_device_mesh(kind, (ranks.nodes, each), mesh_dim_names=("nodes", "ranks"))
    precision = MixedPrecisionPolicy(
        param_dtype=getattr(torch, dtype), reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for module in [*layers(policy.model), policy.scorer]:
        module.float()
        fully_shard(module, mesh=mesh, mp_policy=precision)
    policy.model.to(ranks.device)
    return policy


def is_sharded(policy: Policy) -> bool:
    """Whether `shard` has given the weights to FSDP."""
    return isinstance(policy.scorer, FSDPModule)


def full(tensor: Tensor) -> Tensor:
    """A weight as a whole on this rank; collective where it is sharded."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Weights by name, one at a time and whole: no rank ever holds a second copy of the model.

    Collective: all ranks must go through it together. Tied weights come once.
    """
    for name, parameter in model.named_parameters():
        yield name, full(parameter)


def whole_weights(model: Any, ranks: Ranks, dtype: str = "float32") -> dict[str, Tensor]:
    """All weights by name in the main rank's memory; nothing on the others. Collective."""
    return {
        name: weight.to("cpu", getattr(torch, dtype)).contiguous()
        for name, weight in gathered_weights(model)
        if ranks.is_main
    }


def save_sharded(policy: Policy, folder: Path, ranks: Ranks, dtype: str) -> None:
    """Write the weights, whole and in `dtype`, and the tokenizer in Hugging Face format.

    Collective; the main rank writes.
    """
    state = whole_weights(policy.model, ranks, dtype)
    if ranks.is_main:
        with torch.device("meta"):  # the unsharded architecture, without weights
            model = AutoModelForCausalLM.from_config(policy.model.config, dtype=dtype)
        model.generation_config = policy.model.generation_config
        save_model(model, policy.tokenizer, folder, state)
    ranks.wait()
