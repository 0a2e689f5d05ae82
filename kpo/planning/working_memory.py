"""What one micro-batch needs beside the weights, from the trainer's own forward and backward.

They are run on fake tensors, which have shapes but no data, so that a model of any size can be
measured in seconds on any machine: what counts is when each tensor is made and when it is dropped.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kpo.model.files import ModelError
from kpo.model.layers import recompute
from kpo.model.packing import ATTENTION, pack
from kpo.model.policy import Scorer


@dataclass(frozen=True)
class WorkingMemory:
    """Bytes beside weights and their gradients.

    Attributes:
        kept: of what the forward pass leaves for the backward pass.
        peak: of all at the worst moment, `kept` included.
    """

    kept: int
    peak: int


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while it is active, until they are dropped."""

    def __init__(self, known: Sequence[Tensor] = ()) -> None:
        """`known` are tensors that are there already and do not count."""
        super().__init__()
        self.now = self.peak = 0
        self._storages = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        call = _grouped_product if func is torch.ops.aten._grouped_mm.default else func
        output = call(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return output

    def _count(self, storage: Any) -> None:
        if (key := storage._cdata) in self._storages:
            return
        self._storages.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size


def working_memory(
    config: Any,
    lengths: Sequence[tuple[int, int]],
    *,
    dtype: str,
    checkpointing: bool,
    grouped: bool = True,
) -> WorkingMemory:
    """Of a micro-batch of (prompt, response) lengths, each with a prompt of its own.

    One layer and two are measured; every further one keeps what the second adds.

    Args:
        config: the model's configuration in transformers.
        lengths: tokens of each prompt and its response.
        dtype: of the computation.
        checkpointing: whether layers are computed again in the backward pass.
        grouped: as in `Packed`.

    Raises ModelError for a model whose shapes depend on its data.
    """
    how: dict[str, Any] = {"dtype": dtype, "checkpointing": checkpointing, "grouped": grouped}
    one, two = (measure(config, lengths, layers=layers, **how) for layers in (1, 2))
    more = (two.kept - one.kept) * (config.num_hidden_layers - 1)
    return WorkingMemory(one.kept + more, one.peak + more)


def measure(
    config: Any,
    lengths: Sequence[tuple[int, int]],
    *,
    layers: int,
    dtype: str,
    checkpointing: bool,
    grouped: bool = True,
) -> WorkingMemory:
    """The same, of a model with this number of layers."""
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    # The first token sets prompts apart: equal ones would share their place in the row.
    packed = pack(
        [[i] * prompt for i, (prompt, _) in enumerate(lengths)],
        [[0] * response for _, response in lengths],
        torch.device("cpu"),
    )
    packed = replace(packed, grouped=grouped)
    _ = packed.padded  # attention's layout is made on first use, and needs data
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import

    with FakeTensorMode(allow_non_fake_inputs=True):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        model.set_attn_implementation(ATTENTION)
        model.eval()
        if checkpointing:
            recompute(model)
        try:
            return measure_pass(model, packed)
        except DataDependentOutputException as error:
            raise ModelError(
                f"{config.model_type}: what it needs cannot be told without data"
            ) from error


def measure_pass(model: Any, packed: Any) -> WorkingMemory:
    """Of one forward and backward pass of a model; its weights' gradients are dropped at once."""
    hooks = [
        weight.register_post_accumulate_grad_hook(_drop_gradient) for weight in model.parameters()
    ]
    with LiveBytes([*model.parameters(), *model.buffers()]) as live:
        logprobs, _ = Scorer(model)(packed)
        kept = live.now
        logprobs.sum().backward()
    for hook in hooks:
        hook.remove()
    return WorkingMemory(kept, live.peak)


def _grouped_product(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Of a mixture's experts. On tensors without data, torch knows its shape in bfloat16 alone."""
    product = torch.ops.aten._grouped_mm.default
    if isinstance(input, FakeTensor):
        made: Tensor = product(input.bfloat16(), weight.bfloat16(), *args, **kwargs)
        return made.to(input.dtype)
    return product(input, weight, *args, **kwargs)


def _drop_gradient(weight: Tensor) -> None:
    """As FSDP does, which adds it to the float32 gradient of this rank's shard."""
    weight.grad = None
