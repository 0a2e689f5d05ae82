"""GPUs of this machine, each leased to one job at a time.

    python -m kpo.devices 2 python -m kpo.launch 2 -m kpo.train ...

waits until two GPUs are free, takes them, and becomes the command, which sees no others. All jobs
of a user share the leases, whichever Snakemake started them; a CUDA_VISIBLE_DEVICES that is already
set says among which GPUs. A scheduler's job has its GPUs to itself, and keeps what it was given.
"""

from __future__ import annotations

import argparse
import os
import shutil

from kpo.common.cli import command, fail
from kpo.distributed.leases import lease


@command
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kpo.devices",
        description="Wait for GPUs of this machine that no other job of this user has, and run a"
        " command that sees them alone. Exit code and signals are the command's.",
    )
    parser.add_argument("gpus", type=int, help="how many")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, and its arguments")
    args = parser.parse_args()
    if not args.command or shutil.which(args.command[0]) is None:
        fail(f"no such command: {' '.join(args.command[:1]) or '(none given)'}")
    leased = lease(args.gpus) if args.gpus > 0 else {}
    # In the place of this process, whose open locks are then the command's.
    os.execvpe(args.command[0], args.command, {**os.environ, **leased})


if __name__ == "__main__":
    main()
