"""A small training run with checkpoints, sharded where there are ranks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from kpo.distributed.ranks import ALONE, Ranks
from kpo.trainer.schedule import warm_up
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.state.progress import set_schedule_state, training_state


class Tied(nn.Module):
    """Embedding and head share their weight; some parts have fewer rows than there are ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.norm = nn.LayerNorm(5)
        self.gate = nn.Linear(5, 1)
        self.head = nn.Linear(5, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.norm(self.embedding(ids))
        return self.head(hidden * self.gate(hidden))


class Run:
    """Model, optimizer and schedule; a step's data are seeded by its number."""

    def __init__(self, folder: Path, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        torch.manual_seed(0)
        self.model = Tied()
        if ranks.size > 1:
            fully_shard(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1, fused=True)
        self.schedule = warm_up(self.optimizer, 5)
        self.checkpoints = Checkpoints(folder, {"lr": 0.1}, ranks=ranks)
        self.step = 0

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.step += 1
            ids = torch.randint(0, 7, (4, 3), generator=torch.Generator().manual_seed(self.step))
            self.optimizer.zero_grad()
            self.model(ids).square().mean().backward()
            self.optimizer.step()
            self.schedule.step()

    def save(self, extra: Tensor | None = None) -> None:
        tensors = training_state(self.model, self.optimizer)
        state = {"schedule": self.schedule.state_dict(), "extra": extra}
        self.checkpoints.save(self.step, tensors, state)

    def restore(self) -> tuple[int, Tensor | None] | None:
        """Go on from the newest checkpoint: its step and extra; None where there is none."""
        restored = self.checkpoints.restore(training_state(self.model, self.optimizer))
        if restored is None:
            return None
        self.step, state = restored
        set_schedule_state(self.schedule, state["schedule"])
        return self.step, state["extra"]

    def hash(self) -> str:
        """Hash over everything that the next step depends on; collective."""
        content = hashlib.sha256()
        for name, tensor in sorted(training_state(self.model, self.optimizer).items()):
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            content.update(f"{name} {whole.dtype} {list(whole.shape)}".encode())
            content.update(whole.contiguous().numpy().tobytes())
        rest = [self.step, self.schedule.state_dict()]
        rest += [group["lr"] for group in self.optimizer.param_groups]
        content.update(repr(rest).encode())
        return content.hexdigest()
