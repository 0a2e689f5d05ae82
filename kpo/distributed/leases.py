"""Leases of this machine's GPUs, each held by one job at a time.

A lease is a lock on a file for each GPU (flock), so that it ends with the processes that hold it,
however they end: the command, and the ranks that `kpo.launch` started (`hold_lease`), which may
outlive it. Jobs look for free GPUs one after the other, so that no two hold a part of what each
waits for.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

from kpo.common.cli import UserError

VISIBLE, ORDER, LEASE = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "KPO_DEVICE_LEASE"
LOCKS = Path(f"/tmp/kpo-gpus-{os.getuid()}")
"""The same for all of a user's jobs on a machine, which $TMPDIR need not be."""
POLL_S = 0.5


def visible() -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES names, as CUDA reads it; None where it is not set."""
    if (value := os.environ.get(VISIBLE)) is None:
        return None
    names = map(str.strip, value.split(","))
    none = "", "-1", "NoDevFiles"  # CUDA stops at the first of them
    return list(takewhile(lambda name: name not in none, names))


def physical() -> dict[str, str]:
    """GPUs of this machine by number, as nvidia-smi counts them, with their UUIDs."""
    if shutil.which("nvidia-smi") is None:
        return {}
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    rows = [line.split(",") for line in listed.stdout.splitlines() if listed.returncode == 0]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def lease(gpus: int) -> dict[str, str]:
    """Wait for GPUs and take them: the environment in which they are the only ones.

    The locks belong to this process and whatever inherits its open files. Raises UserError for
    more GPUs than there are.
    """
    given = visible()
    if "SLURM_JOB_ID" in os.environ and (given is None or len(given) <= gpus):
        return {}
    there = physical()
    names = list(there) if given is None else given
    if gpus > len(names):
        raise UserError(f"the job asks for {gpus} GPUs, but {_lack(names, given)}")
    uuids = {name: _uuid(name, there) for name in names}
    if (taken := _try_to_take(uuids, gpus)) is None:
        sys.stderr.write(f"waiting for {gpus} of the GPUs {', '.join(names)}\n")
    while taken is None:
        time.sleep(POLL_S)
        taken = _try_to_take(uuids, gpus)
    environment = {VISIBLE: ",".join(taken), LEASE: ",".join(uuids[name] for name in taken)}
    if given is None:  # then numbers are nvidia-smi's, in the order of the PCI bus
        environment[ORDER] = "PCI_BUS_ID"
    return environment


def hold_lease() -> None:
    """Hold the lease that this process was started under, for as long as it lives."""
    for uuid in filter(None, os.environ.get(LEASE, "").split(",")):
        fcntl.flock(_open(uuid), fcntl.LOCK_SH | fcntl.LOCK_NB)


def _lack(names: list[str], given: list[str] | None) -> str:
    if given is not None:
        return f"{VISIBLE}={os.environ[VISIBLE]} names {len(names)}"
    if shutil.which("nvidia-smi") is None:
        return f"there is no nvidia-smi to list them: name them in {VISIBLE}"
    return f"nvidia-smi lists {len(names)}"


def _uuid(name: str, there: dict[str, str]) -> str:
    """What names the GPU in any of its spellings: number, UUID, or the beginning of one."""
    begun = (uuid for uuid in there.values() if uuid.startswith(name))
    return there[name] if name in there else next(begun, name)


def _try_to_take(uuids: dict[str, str], count: int) -> list[str] | None:
    """Names of `count` GPUs that are now locked, or None if fewer are free; all or none."""
    fcntl.flock(turn := _open("turn"), fcntl.LOCK_EX)
    taken: dict[str, int] = {}
    for name, uuid in uuids.items():
        taken[name] = _open(uuid)
        try:
            fcntl.flock(taken[name], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(taken.pop(name))
        if len(taken) == count:
            break
    for file in taken.values():
        if len(taken) < count:
            os.close(file)
        else:
            fcntl.flock(file, fcntl.LOCK_SH)  # ranks will hold it too
            os.set_inheritable(file, True)
    os.close(turn)
    return list(taken) if len(taken) == count else None


def _open(name: str) -> int:
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    if LOCKS.stat().st_uid != os.getuid():
        raise UserError(f"{LOCKS} belongs to another user: remove it")
    return os.open(LOCKS / name.replace("/", "_"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
