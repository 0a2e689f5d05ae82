"""One process at a time for what takes long to make: a run, a base policy, an evaluation."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from kpo.common.cli import UserError, warn

_HELD: list[TextIOWrapper] = []  # open until the process ends: closing one gives its lock away


def hold(path: Path, *, wait: bool = False) -> None:
    """Be the only process that makes `path`, a file or folder, until this process ends.

    The lock lies beside it, in `.<name>.lock`, so that it stays whatever becomes of `path`. The
    system gives it up when its owner dies, however it dies, and child processes do not inherit it.
    Where the file system has no locks, there is a warning. Raises UserError, which says who has it,
    if it is taken, unless it is to `wait`.
    """
    file = _open(path)
    try:
        _take(file, wait=wait)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        raise UserError(
            f"{path}: another process makes it ({file.read().strip() or 'unknown'});"
            " wait for it, or end it"
        ) from None
    except OSError as error:
        warn(f"{path} cannot be locked here ({error.strerror})")
    _HELD.append(file)


@contextmanager
def lent(path: Path) -> Iterator[bool]:
    """Whether this process has `path` to itself for as long as the block; else another has it.

    Not for what this process holds: the end of the block would give that away.
    """
    with _open(path) as file:
        try:
            _take(file, wait=False)
        except OSError:
            yield False
        else:
            yield True


def _open(path: Path) -> TextIOWrapper:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.lock").open("a+", encoding="utf-8")


def _take(file: TextIOWrapper, *, wait: bool) -> None:
    """Lock a file and say in it whose it is. Raises OSError where it is taken."""
    fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    file.truncate(0)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    file.write(f"process {os.getpid()} on {socket.gethostname()}, started {started}\n")
    file.flush()
