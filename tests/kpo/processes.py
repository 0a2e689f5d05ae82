"""Other processes for tests: ranks that train together, and one that may be killed.

They are forked from a server that has loaded what torch loads late, as a fresh start takes seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from kpo.distributed.ranks import Ranks
from tests.patience import FAR_S

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.kpo.writers", "torch._dynamo"])


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
        "gloo", init_method=store, rank=rank, world_size=count, timeout=timedelta(seconds=FAR_S)
    )
    try:
        return function(Ranks(rank, count), *args)
    finally:
        dist.destroy_process_group()


CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
"""What Python reports (PEP 578) before it changes a folder; replacing is renaming."""


def killed_at_each_change(function: Callable[..., None], *args: Any) -> Iterator[int]:
    """Run function(*args), of a module, in a process that dies at its n-th change on disk.

    It dies before a change of a folder, and behind the opening that empties a file.
    Yields n = 1, 2, ... after each death, and ends when a process came to the end of its work.
    """
    n = 1
    while dies_at(n, function, *args):
        yield n
        n += 1


def dies_at(n: int, function: Callable[..., None], *args: Any) -> bool:
    """Whether function(*args), of a module, in a process of its own died before its n-th change."""
    process = SERVER.Process(target=_dying, args=(n, function, args))
    process.start()
    process.join()
    assert process.exitcode in (0, DEAD), f"the process was to die, but {process.exitcode}"
    return process.exitcode == DEAD


DEAD = 99


def _dying(lives: int, function: Callable[..., None], args: tuple[Any, ...]) -> None:
    left = lives

    def count(event: str, about: tuple[Any, ...]) -> None:
        nonlocal left
        empties = event == "open" and about[2] & os.O_TRUNC and Path(str(about[0])).is_file()
        if event in CHANGES or empties:
            left -= 1
            if left == 0:
                if empties:
                    os.truncate(about[0], 0)
                os._exit(DEAD)

    sys.addaudithook(count)
    function(*args)
    os._exit(0)  # what the interpreter does at its end is not counted
