"""A forward and backward pass of the trainer's own, on tensors that have shapes but no data.

A model of any size is measured so in seconds, on any machine, with one layer and with two: every
further layer adds what the second does.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kpo.model.files import ModelError
from kpo.model.layers import recompute
from kpo.model.packing import ATTENTION, Packed, pack
from kpo.model.policy import Scorer

aten = torch.ops.aten
T = TypeVar("T")


class Memory(NamedTuple):
    """Bytes beside weights and their gradients: left for the backward pass; at the worst moment."""

    kept: int
    peak: int


class Operations(NamedTuple):
    """Floating-point operations, two for each multiplication and addition.

    Those of the update are forward, backward, and what is computed again for it.
    """

    forward: int
    update: int


def working_memory(config: Any, lengths: Sequence[tuple[int, int]], **how: Any) -> Memory:
    """Of a micro-batch; see `measure` for the arguments, of which `layers` is left out."""
    one, two = (measure(memory_of, config, lengths, layers=n, **how) for n in (1, 2))
    more = (two.kept - one.kept) * (config.num_hidden_layers - 1)
    return Memory(one.kept + more, one.peak + more)


def operations(config: Any, lengths: Sequence[tuple[int, int]], checkpointing: bool) -> Operations:
    """Of a micro-batch of responses to one prompt."""
    how: dict[str, Any] = {"dtype": "float32", "checkpointing": checkpointing, "shared": True}
    one, two = (measure(operations_of, config, lengths, layers=n, **how) for n in (1, 2))
    more = config.num_hidden_layers - 1
    return Operations(*(a + more * (b - a) for a, b in zip(one, two, strict=True)))


def measure(
    what: Callable[[Any, Packed], T],
    config: Any,
    lengths: Sequence[tuple[int, int]],
    *,
    layers: int,
    dtype: str,
    checkpointing: bool,
    grouped: bool = True,
    shared: bool = False,
) -> T:
    """What a pass over a micro-batch takes.

    Args:
        what: `memory_of` or `operations_of`.
        config: the model's configuration in transformers.
        lengths: tokens of each prompt and its response.
        layers: the model's, instead of the configuration's.
        dtype: of the computation.
        checkpointing: whether layers are computed again in the backward pass.
        grouped: as in `Packed`.
        shared: whether the responses share a prompt, instead of each having its own.

    Raises ModelError for a model whose shapes depend on its data.
    """
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    packed = pack(
        [[0 if shared else i] * prompt for i, (prompt, _) in enumerate(lengths)],
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
            return what(model, packed)
        except DataDependentOutputException as error:
            raise ModelError(
                f"{config.model_type}: what it needs cannot be told without data"
            ) from error


def memory_of(model: Any, packed: Packed) -> Memory:
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
    return Memory(kept, live.peak)


def _drop_gradient(weight: Tensor) -> None:
    """As FSDP does, which adds it to the float32 gradient of this rank's shard."""
    weight.grad = None


def operations_of(model: Any, packed: Packed) -> Operations:
    """The same pass, in float32."""
    with flop_counter.FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter, Fakes():
        logprobs, _ = Scorer(model)(packed)
        forward = counter.get_total_flops()
        logprobs.sum().backward()
    return Operations(forward, counter.get_total_flops())


class Fakes(TorchDispatchMode):
    """Products of a mixture's experts in any dtype; without data, torch has those of bfloat16."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not aten._grouped_mm.default or not isinstance(args[0], FakeTensor):
            return func(*args, **(kwargs or {}))
        x, weight, *rest = args
        return func(x.bfloat16(), weight.bfloat16(), *rest, **(kwargs or {})).to(x.dtype)


class LiveBytes(Fakes):
    """Counts the bytes of all tensors that are made while it is active, until they are dropped."""

    def __init__(self, known: Sequence[Tensor] = ()) -> None:
        """`known` are tensors that are there already and do not count."""
        super().__init__()
        self.now = self.peak = 0
        self._storages = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = super().__torch_dispatch__(func, types, args, kwargs)
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


def _product(_: Any, rows: Sequence[int], weight: Sequence[int], **__: Any) -> int:
    return 2 * rows[0] * rows[1] * weight[1]


def _grouped(rows: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Of a mixture's experts: each row meets one, or each expert has rows that add to a weight."""
    return 2 * rows[-2] * rows[-1] * weight[-1]


def _attention(*args: Any, **_: Any) -> int:
    """Half of a square where it is causal."""
    return flop_counter.sdpa_flop_count(*args[:3]) // (1 + (args[4:5] == (True,)))


def _attention_backward(*args: Any, **_: Any) -> int:
    return flop_counter.sdpa_backward_flop_count(*args[:4]) // (1 + args[7])


UNCOUNTED = {
    aten.addmm_: _product,
    aten._grouped_mm: _grouped,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Products that torch's counter does not know: their operations by the shapes of what they take."""
