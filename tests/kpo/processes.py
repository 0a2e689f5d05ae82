"""Other processes for tests: ranks that train together, and one that may be killed.

They are forked from a server that has loaded what torch loads late, as a fresh start takes seconds.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from kpo.ranks import Ranks

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.kpo.trainer.checkpointed", "torch._dynamo"])


def on_ranks(count: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """What function(ranks, *args), of a module, returns on each of `count` ranks under gloo."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(count, mp_context=SERVER) as pool,
    ):
        store = f"file://{Path(folder) / 'store'}"
        ranks = [pool.submit(_rank, store, i, count, function, args) for i in range(count)]
        return [rank.result() for rank in ranks]


def _rank(
    store: str, rank: int, count: int, function: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=count, timeout=timedelta(seconds=60)
    )
    try:
        return function(Ranks(rank, count), *args)
    finally:
        dist.destroy_process_group()
