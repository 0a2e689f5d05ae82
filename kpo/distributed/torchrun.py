"""torchrun on one of the nodes of a run, with the signals and exit codes of `kpo.launch`.

torchrun ends processes 30 s after a signal, and with an exit code of its own. Here SIGTERM goes to
this node's processes, which agree with the others and take the time that their checkpoint takes,
and the exit code is that of the first process that failed. Nothing is started again in place: a run
goes on from its checkpoint when it is started again as a whole.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import FrameType

from kpo.common.cli import UserError

TOLD_BEFORE_ITS_START = 75
"""EX_TEMPFAIL of sysexits.h, the exit code of a run that wants to be started again."""


def run_here(
    nodes: int, each: int, rendezvous: str, command: Sequence[str], is_host: bool | None = None
) -> int:
    """Run `python <command>` in `each` processes on this node, one of several; the exit code.

    Args:
        rendezvous: HOST:PORT, the same on all nodes. HOST is one of them.
        is_host: whether it is this one; None: its name and addresses tell.

    Raises UserError where the nodes do not find each other, or lose the one that they met at.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.elastic.rendezvous.api import RendezvousError  # noqa: PLC0415
    from torch.distributed.run import parse_args, run  # noqa: PLC0415

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as `kpo.launch` has it, without a warning
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _hand_on)
    how = [f"--nnodes={nodes}", f"--nproc-per-node={each}", "--max-restarts=0"]
    how += ["--rdzv-backend=c10d", f"--rdzv-endpoint={rendezvous}", f"--rdzv-id={_name(command)}"]
    how += ["--signals-to-handle=SIGHUP"]  # the others are handed on
    if is_host is not None:
        how += [f"--rdzv-conf=is_host={is_host}"]
    try:
        run(parse_args([*how, "--no-python", sys.executable, *command]))
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return 128 - code if code < 0 else code
    except RendezvousError as error:
        raise UserError(
            f"the {nodes} nodes have not met at {rendezvous}, or the one there has gone ({error})"
        ) from None
    return 0


def _name(command: Sequence[str]) -> str:
    """Of a run, so that another one does not join it by mistake."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return sha256("\0".join((job, *command)).encode()).hexdigest()[:16]


def _hand_on(number: int, _: FrameType | None) -> None:
    """Send a signal to the processes on this node; before there are any, end."""
    processes = list(_children())
    for process in processes:
        os.kill(process, number)
    if not processes:
        raise SystemExit(TOLD_BEFORE_ITS_START)


def _children() -> Iterator[int]:
    """Processes that this one has started and that have not ended."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == os.getpid() and state != "Z":
            yield int(stat.parent.name)
