"""Batches and objectives that several tests share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kpo.objective import Objective, ObjectiveOutput, TokenBatch
from kpo.registry import make_objective
from tests.kpo import oracles
from tests.kpo.oracles import Array, Expected


class Method(NamedTuple):
    label: str
    name: str
    settings: dict[str, float | None]

    def build(self) -> Objective:
        return make_objective(self.name, **self.settings)

    def expected(self, batch: TokenBatch) -> Expected:
        """The oracle's answer for the batch."""
        z = as_array(batch.logprobs) - as_array(batch.old_logprobs)
        mask = batch.mask.numpy().astype(bool)
        advantages, logprobs = as_array(batch.advantages), as_array(batch.logprobs)
        return oracles.expected(self.name, self.settings, z, advantages, mask, logprobs)


METHODS = [
    Method("grpo", "grpo", {}),
    Method("grpo-lopsided", "grpo", {"clip_low": 0.1, "clip_high": 0.3}),
    Method("token_clipped", "token_clipped", {}),
    Method("gspo", "gspo", {}),
    Method("gspo-lopsided", "gspo", {"clip_low": 0.3, "clip_high": 0.05}),
    Method("dapo", "dapo", {}),
    Method("dr_grpo", "dr_grpo", {"length": 40}),
    Method("cispo", "cispo", {}),
    Method("cispo-narrow", "cispo", {"weight_low": 0.8, "weight_high": 1.2}),
    Method("sapo", "sapo", {}),
    Method("sapo-sharp", "sapo", {"tau_positive": 3.0, "tau_negative": 5.0}),
    Method("dppo_tv", "dppo_tv", {}),
    Method("dppo_tv-tight", "dppo_tv", {"threshold": 0.01, "cap": 1.1}),
    Method("vespo", "vespo", {}),
    Method(
        "vespo-other",
        "vespo",
        {"k_positive": 1.0, "l_positive": 1.5, "k_negative": 2.5, "l_negative": 4.0},
    ),
    Method("reinforce", "reinforce", {}),
    Method("fipo", "fipo", {}),
    Method("fipo-near", "fipo", {"half_life": 2.0, "reach": 0.5, "clip_high": 3.0}),
    Method("gmpo", "gmpo", {}),
    Method("gmpo-lopsided", "gmpo", {"clip_low": 0.2, "clip_high": 0.6}),
    Method("kpo-paper", "kpo", {"q": 1e-6}),
    Method("kpo-quick", "kpo", {"q": 1e-2}),
    Method("kpo-memory", "kpo", {"memory": 12.0, "clip_low": 0.3, "clip_high": 0.1}),
    Method("kpo-unclipped", "kpo", {"q": 1e-4, "clip_low": None, "clip_high": None}),
]
IDS = [method.label for method in METHODS]
SOFT = ("cispo", "sapo", "vespo", "reinforce")  # drop no token, however far it is
BY_LOGPROB = ("cispo", "dppo_tv", "vespo", "reinforce")  # losses whose value is w A log pi

SCALES = (1e-4, 4e-4, 1e-2, 0.2, 0.5, 3.0)  # of z: inside every clip .. far outside all of them
BIASES = (-1.0, 0.0, 1.0)  # mean of z in units of its scale
ADVANTAGES = (-1.3, 0.0, 0.7)


def as_array(tensor: Tensor) -> Array:
    return tensor.detach().to(torch.float64).numpy()


def holey_mask(rng: np.random.Generator, rows: int, length: int) -> NDArray[np.bool_]:
    """Ragged ends, holes anywhere; the first row is empty, the second has one token."""
    ends = rng.integers(1, length + 1, size=(rows, 1))
    mask = (np.arange(length) < ends) & (rng.random((rows, length)) > 0.2)
    mask[:2] = False
    mask[1, rng.integers(length)] = True
    return mask


def random_batch(seed: int, length: int = 24, dtype: torch.dtype = torch.float64) -> TokenBatch:
    """One row of every scale, bias and advantage, in seeded order."""
    rng = np.random.default_rng(seed)
    grid = np.array(np.meshgrid(SCALES, BIASES, ADVANTAGES)).reshape(3, -1)
    scale, bias, advantage = rng.permutation(grid, axis=1)[:, :, None]
    z = scale * (bias + rng.standard_normal((len(scale), length)))
    old = -0.1 - 2 * rng.random(z.shape)
    return TokenBatch(
        logprobs=torch.tensor(old + z, dtype=dtype),
        old_logprobs=torch.tensor(old, dtype=dtype),
        advantages=torch.tensor(advantage[:, 0], dtype=dtype),
        mask=torch.tensor(holey_mask(rng, *z.shape)),
    )


def one_response(
    z: Sequence[float], advantage: float, dtype: torch.dtype = torch.float64
) -> TokenBatch:
    """A single response with these log-ratios, nothing masked."""
    log_ratio = torch.tensor([z], dtype=dtype)
    return TokenBatch(
        logprobs=log_ratio,
        old_logprobs=torch.zeros_like(log_ratio),
        advantages=torch.tensor([advantage], dtype=dtype),
        mask=torch.ones_like(log_ratio, dtype=torch.bool),
    )


def rows_of(batch: TokenBatch, rows: Tensor) -> TokenBatch:
    """Those responses, cut to the longest of them."""
    used = batch.mask[rows].any(0).nonzero()
    length = int(used.max()) + 1 if len(used) else 1
    return TokenBatch(
        logprobs=batch.logprobs[rows, :length],
        old_logprobs=batch.old_logprobs[rows, :length],
        advantages=batch.advantages[rows],
        mask=batch.mask[rows, :length],
    )


def loss_and_gradient(objective: Objective, batch: TokenBatch) -> tuple[ObjectiveOutput, Tensor]:
    """The output, its loss detached, and d loss / d logprobs."""
    leaf = batch.logprobs.detach().clone().requires_grad_()
    output = objective(replace(batch, logprobs=leaf))
    (gradient,) = torch.autograd.grad(output.loss, leaf)
    return replace(output, loss=output.loss.detach()), gradient
