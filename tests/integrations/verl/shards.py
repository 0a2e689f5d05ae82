"""A policy of one table on shards of a batch, for workers of Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor
from verl.utils.config import omega_conf_to_dataclass

from kpo.objective import TokenBatch
from tests.integrations.verl.actor import micro_batch
from tests.kpo.cases import holey_mask, rows_of

ROWS, LENGTH, WORDS = 24, 32, 13


def table_and_batch() -> tuple[Tensor, TokenBatch]:
    """Logits of the next word by the last one, with gradient, and responses of older logits."""
    rng = torch.Generator().manual_seed(0)
    old = torch.randn(WORDS, WORDS, generator=rng, dtype=torch.float64)
    table = old + 0.3 * torch.randn(WORDS, WORDS, generator=rng, dtype=torch.float64)
    table.requires_grad_()
    words = torch.randint(WORDS, (ROWS, LENGTH + 1), generator=rng)
    last, following = words[:, :-1], words[:, 1:, None]
    now, then = (
        logits[last].log_softmax(-1).gather(2, following).squeeze(2) for logits in (table, old)
    )
    A = torch.randn(ROWS, generator=rng, dtype=torch.float64)
    mask = torch.tensor(holey_mask(np.random.default_rng(0), ROWS, LENGTH))
    return table, TokenBatch(now, then, A, mask)


def gradient(
    actor: dict[str, Any], micro_batches: Sequence[Sequence[int]], ranks: int
) -> tuple[float, Tensor]:
    """A rank's loss and the table's gradient, from the actor section of a run's config."""
    config = omega_conf_to_dataclass(OmegaConf.create(actor))
    table, batch = table_and_batch()
    sizes = {
        "dp_size": ranks,
        "batch_num_tokens": int(batch.mask.sum()),
        "global_batch_size": ROWS,
    }
    losses = [
        micro_batch(config, rows_of(batch, torch.tensor(rows)), sizes)[0] for rows in micro_batches
    ]
    loss = torch.stack(losses).sum()
    (found,) = torch.autograd.grad(loss, table)
    return loss.item(), found
