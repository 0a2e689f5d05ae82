"""The processes that train one run together: who they are, and what they exchange.

One process needs nothing of this. Several are started by `kpo.launch`, one a GPU (nccl) or several
on the CPU (gloo). Every rank sees the whole batch; the work on it, not the data, is divided, so
that each rank can tell by itself what the others do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from kpo.common.cli import UserError
from kpo.distributed.leases import hold_lease

T = TypeVar("T")
TIMEOUT_GRACE_S = 60.0


@dataclass(frozen=True)
class Ranks:
    """This process among `size`; the default is one process alone on the CPU."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's part: contiguous, in rank order, as even as can be."""
        bounds = [len(items) * r // self.size for r in (self.rank, self.rank + 1)]
        return list(items[slice(*bounds)])

    def gather(self, item: T) -> list[T]:
        """Every rank's item, in rank order, on every rank; items hold no tensors on a GPU."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def concatenate(self, items: Sequence[T]) -> list[T]:
        """The inverse of `share`."""
        return [item for part in self.gather(list(items)) for item in part]

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)))

    def wait(self) -> None:
        """Until every rank is here."""
        if self.size > 1:
            dist.barrier()


ALONE = Ranks()


def pick_device(gpus: int, local_rank: int = 0) -> torch.device:
    """A GPU if the experiment asks for any, else the CPU. Raises UserError for too few."""
    if gpus > (there := torch.cuda.device_count()):
        raise UserError(f"the experiment asks for {gpus} GPUs, but torch sees {there}")
    return torch.device("cuda", local_rank) if gpus else torch.device("cpu")


def join(*, gpus: int, ranks: int, stall_s: float) -> Ranks:
    """Meet the other processes, one a GPU or, without, `ranks` on the CPU.

    The process group stays open until the process ends. Its own limit, 10 minutes with NCCL, is
    below the `stall_s` seconds that a rank may be waited for; here it comes after the watchdog's,
    which knows the phase. Raises UserError unless as many processes were started as asked for.
    """
    size = gpus or ranks
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != size:
        raise UserError(
            f"the experiment trains with {size} processes, but there is {started}: start it with"
            f" python -m kpo.launch {size} -m kpo.train ..."
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = pick_device(gpus, local)
    if gpus:
        hold_lease()
        torch.cuda.set_device(device)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group(
            "nccl" if gpus else "gloo",
            device_id=device if gpus else None,
            timeout=timedelta(seconds=stall_s + TIMEOUT_GRACE_S),
        )
    return Ranks(int(os.environ.get("RANK", "0")), size, device)
