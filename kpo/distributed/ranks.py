"""The processes that train one run together: who they are, and what they exchange.

One process needs nothing of this. Several are started by `kpo.launch`, or by `kpo.nodes` on several
nodes, one a GPU (nccl) or several on the CPU (gloo). Every rank sees the whole batch; the work on
it, not the data, is divided, so that each rank can tell by itself what the others do.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor

from kpo.common.cli import UserError
from kpo.common.parent import end_with_parent
from kpo.distributed.leases import hold_lease

T = TypeVar("T")
TIMEOUT_GRACE_S = 60.0


@dataclass(frozen=True)
class Ranks:
    """This process among `size`, as many on each node; the default is one alone on the CPU."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    nodes: int = 1

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


def join(*, gpus: int, ranks: int, nodes: int = 1, stall_s: float) -> Ranks:
    """Meet the other processes: on each node one a GPU or, without, `ranks` on the CPU.

    The process group stays open until the process ends. Its own limit, 10 minutes with NCCL, is
    below the `stall_s` seconds that a rank may be waited for; here it comes after the watchdog's,
    which knows the phase. Raises UserError unless as many processes were started as asked for, on
    as many nodes.
    """
    each = gpus or ranks
    size = nodes * each
    _check_started(nodes, each)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # of torchrun, which leaves processes behind
        end_with_parent()
    local = _told("LOCAL_RANK", 0)
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
    return Ranks(_told("RANK", 0), size, device, nodes)


def _check_started(nodes: int, each: int) -> None:
    """Raise UserError unless `each` processes were started on each node, counted node by node.

    torchrun's nodes come in any order, but the processes of one have numbers that follow each
    other: the mesh of `kpo.distributed.sharding` counts on it.
    """
    if nodes == 1:
        wanted, launcher = f"{each} processes", f"kpo.launch {each}"
    else:
        wanted, launcher = f"{each} processes on each of {nodes} nodes", f"kpo.nodes {nodes} {each}"
    advice = f"start it with python -m {launcher} -m kpo.train ..."
    started, here = _told("WORLD_SIZE", 1), _told("LOCAL_WORLD_SIZE", 1)
    if started != nodes * each:
        raise UserError(f"the experiment trains with {wanted}, but there is {started}: {advice}")
    rank = _told("RANK", 0)
    if nodes > 1 and (here, rank) != (each, _told("GROUP_RANK", 0) * each + _told("LOCAL_RANK", 0)):
        raise UserError(
            f"the experiment trains with {wanted}, but process {rank} is one of {here} on its node:"
            f" {advice}"
        )


def _told(name: str, default: int) -> int:
    """What the launcher says in the environment."""
    return int(os.environ.get(name, default))


def check_shared(folder: Path, ranks: Ranks) -> None:
    """Raise UserError unless all nodes see what the main process writes in this folder."""
    if ranks.nodes == 1:
        return
    mark = folder / f".seen-{ranks.gather(uuid4().hex)[0]}"
    if ranks.is_main:
        mark.touch()
    ranks.wait()
    blind = {host for host in ranks.gather("" if mark.exists() else socket.gethostname()) if host}
    if ranks.is_main:
        mark.unlink()
    if blind:
        raise UserError(
            f"{folder} is not the same folder on all nodes: {', '.join(sorted(blind))} does not see"
            " what is written there elsewhere, as a checkpoint would be; take a file system that"
            " they share"
        )
