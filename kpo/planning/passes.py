"""A forward and backward pass of the trainer's own, on tensors that have shapes but no data.

A model of any size is measured so in seconds, on any machine, with one layer and with two: every
further layer adds what the second does.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary
from transformers import AutoModelForCausalLM

from kpo.model.files import ModelError
from kpo.model.packing import ATTENTION, Packed, pack
from kpo.model.policy import Scorer, recompute

aten = torch.ops.aten


class Cost(NamedTuple):
    """Bytes and floating-point operations, two for each multiplication and addition, of a pass.

    Bytes beside weights are `kept` for the backward pass; the `peak` is also beside gradients. The
    operations of an `update` are forward, backward and what is computed again for it.
    """

    kept: int
    peak: int
    forward: int
    update: int


def cost(config: Any, lengths: Sequence[tuple[int, int]], **how: Any) -> Cost:
    """Of a micro-batch; see `measure` for the arguments, of which `layers` is left out."""
    one, two = (measure(config, lengths, layers=n, **how) for n in (1, 2))
    more = config.num_hidden_layers - 1
    kept, _, *operations = (more * (b - a) for a, b in zip(one, two, strict=True))
    added = kept, kept, *operations  # at its worst moment, too, a pass works on one layer
    return Cost(*map(sum, zip(one, added, strict=True)))


def measure(
    config: Any,
    lengths: Sequence[tuple[int, int]],
    *,
    layers: int,
    dtype: str = "float32",
    checkpointing: bool = False,
    grouped: bool = True,
    shared: bool = False,
) -> Cost:
    """Of a micro-batch, in a model of this configuration in transformers but so many layers.

    `lengths` are tokens of each prompt and its response, `dtype` is that of the computation;
    `checkpointing` computes layers again in the backward pass, `grouped` is as in `Packed`, and
    `shared` responses are to one prompt, instead of each having its own.
    Raises ModelError for a model whose shapes depend on its data.
    """
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    prompts = [[0 if shared else i] * prompt for i, (prompt, _) in enumerate(lengths)]
    responses = [[0] * response for _, response in lengths]
    packed = replace(pack(prompts, responses, torch.device("cpu")), grouped=grouped)
    _ = packed.padded  # attention's layout is made on first use, and needs data
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        model.set_attn_implementation(ATTENTION)
        if checkpointing:
            recompute(model)
        try:
            return cost_of(model, packed)
        except DataDependentOutputException as error:
            raise ModelError(
                f"{config.model_type}: what it needs cannot be told without data"
            ) from error


def cost_of(model: Any, packed: Packed) -> Cost:
    """Of one forward and backward pass; the weights' gradients are dropped at once.

    So does FSDP, which adds them to the float32 gradients of this rank's shard.
    """
    for weight in model.parameters():
        weight.register_post_accumulate_grad_hook(lambda weight: setattr(weight, "grad", None))
    with Meter([*model.parameters(), *model.buffers()]) as meter:
        logprobs, _ = Scorer(model)(packed)
        kept, forward = meter.now, meter.operations
        logprobs.sum().backward()
    return Cost(kept, meter.peak, forward, meter.operations)


class Meter(TorchDispatchMode):
    """Counts operations, and the bytes of all tensors from when they are made until dropped.

    torch's FlopCounterMode has the same formulas, but keeps tensors longer than a run does.
    """

    def __init__(self, known: Sequence[Tensor] = ()) -> None:
        """`known` are tensors that are there already and do not count."""
        super().__init__()
        self.peak = self.operations = self._at_most = 0
        self._live = WeakIdKeyDictionary({tensor.untyped_storage(): 0 for tensor in known})

    @property
    def now(self) -> int:
        """Bytes of the tensors that are there."""
        return sum(self._live.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten._grouped_mm.default and isinstance(args[0], FakeTensor):
            x, weight, *rest = args  # a mixture's: without data, torch has them in bfloat16 alone
            output = func(x.bfloat16(), weight.bfloat16(), *rest, **kwargs).to(x.dtype)
        else:
            output = func(*args, **kwargs)
        if formula := FORMULAS.get(func._overloadpacket):
            self.operations += formula(*args, **kwargs, out_val=output)
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        if self._at_most > self.peak:  # else it cannot be a new peak, whatever was dropped
            self._at_most = self.now
            self.peak = max(self.peak, self._at_most)
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._live:
            self._live[storage] = storage.nbytes()
            self._at_most += storage.nbytes()


def _product(rows: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """Also of a mixture: each row meets one expert, or each has rows that add to a weight."""
    return 2 * rows.numel() * weight.shape[-1]


def _attention(*args: Any, **_: Any) -> int:
    """Half of a square where it is causal."""
    operations = flop_counter.sdpa_flop_count(*(x.shape for x in args[:3]))
    return operations // (1 + (args[4:5] == (True,)))


def _attention_backward(*args: Any, **_: Any) -> int:
    return flop_counter.sdpa_backward_flop_count(*(x.shape for x in args[:4])) // (1 + args[7])


FORMULAS = {
    **flop_counter.flop_registry,
    aten.addmm_: lambda _, rows, weight, **__: _product(rows, weight),
    aten._grouped_mm: _product,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Operations of each product: torch's formulas, and those of products that it does not know."""
