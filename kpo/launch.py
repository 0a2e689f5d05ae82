"""Start a run's processes on this machine, and end as they end.

    python -m kpo.launch 2 -m kpo.train --config ...

The processes find each other as torchrun's do. Unlike torchrun, which has its own exit code and
ends processes 30 s after a signal, this hands on both: SIGTERM goes to every process, which takes
the time that its checkpoint takes (a hanging one is ended by its watchdog), and the exit code is
that of the first process that failed. When one fails the others are ended, and when this process is
killed they receive SIGTERM. Processes on several machines are started by `kpo.nodes`.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from kpo.common.parent import end_with_parent

SHUTDOWN_S = 60.0
"""Seconds from the failure of one process to the killing of those that do not end by themselves."""
POLL_S = 0.1

Processes = Sequence[subprocess.Popen[bytes]]


def launch(count: int, command: Sequence[str]) -> int:
    """Run `python <command>` in `count` processes to the end; the exit code of the first to fail.

    A process that a signal ended counts as 128 + the signal's number, as in a shell.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # noqa: PLC0415

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there: no process opens one
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock
        )
        for rank in range(count)
    ]

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: _send(processes, number))
    return _wait(processes)


def _wait(processes: Processes) -> int:
    """Until all have ended; where one fails, the others are ended too."""
    deadline, first = math.inf, 0
    while True:
        codes = [process.poll() for process in processes]
        first = first or next(filter(None, codes), 0)
        if None not in codes:
            return 128 - first if first < 0 else first
        if first and deadline == math.inf:
            deadline = time.monotonic() + SHUTDOWN_S
            _send(processes, signal.SIGTERM)
        if time.monotonic() > deadline:
            _send(processes, signal.SIGKILL)
        time.sleep(POLL_S)


def _send(processes: Processes, number: int) -> None:
    for process in processes:
        process.send_signal(number)  # those that have ended are left out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kpo.launch",
        description="Start a run's processes on this machine. Exit code and signals are theirs.",
    )
    parser.add_argument("count", type=int, help="number of processes")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="what Python runs: -m module, or a file"
    )
    args = parser.parse_args()
    if args.count < 1:
        parser.error(f"count is {args.count}, but must be at least 1")
    if not args.command:
        parser.error("command is missing: -m module, or a file, with its arguments")
    raise SystemExit(launch(args.count, args.command))


if __name__ == "__main__":
    main()
