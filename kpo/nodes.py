"""Start a run's processes on several machines, and end as they end.

    python -m kpo.nodes 2 4 -m kpo.train --config ...

starts 4 processes on each of 2 nodes by a torchrun on each, through the Slurm job in which it is
called. Elsewhere the same command is started on each node, with --rendezvous HOST:PORT, where HOST
is one of them. Exit code and signals are the processes', as with `kpo.launch`.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

from kpo.common.cli import command, fail
from kpo.distributed.leases import lease
from kpo.distributed.torchrun import run_here

BY_SLURM = "slurm:"
"""Before a port, in place of the address of the node that srun was called on, the first."""


def srun(nodes: int, cpus: int, gpus: int) -> list[str]:
    """What starts a command once on each node of this Slurm job, with what the job has there."""
    geometry = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    geometry += [f"--cpus-per-task={cpus}", *([f"--gres=gpu:{gpus}"] if gpus else [])]
    # One that fails ends all: the others would wait for it in vain.
    return ["srun", *geometry, "--mpi=none", "--kill-on-bad-exit=1"]


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


@command
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kpo.nodes",
        description="Start a run's processes on several machines, by torchrun: on those of the"
        " Slurm job in which this is called, or with --rendezvous on each of them by hand. Exit"
        " code and signals are the processes'.",
    )
    parser.add_argument("nodes", type=int, help="number of machines, at least 2")
    parser.add_argument("each", type=int, help="number of processes on each")
    parser.add_argument("--threads", type=int, default=1, help="CPUs of each process, for Slurm")
    parser.add_argument("--gpus", action="store_true", help="each process has a GPU")
    parser.add_argument("--rendezvous", metavar="HOST:PORT", help="where the machines meet")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="what Python runs: -m module, or a file"
    )
    args = parser.parse_args()
    if args.nodes < 2 or args.each < 1:
        parser.error(f"{args.nodes} nodes with {args.each} processes each: at least 2 and 1")
    if not args.command:
        parser.error("command is missing: -m module, or a file, with its arguments")
    gpus = args.each if args.gpus else 0
    if args.rendezvous is None:
        if "SLURM_JOB_ID" not in os.environ:
            fail(
                f"nothing starts a run on {args.nodes} nodes here: submit it through Slurm"
                " (--workflow-profile workflow/profiles/slurm), or start this command on each node"
                " with --rendezvous HOST:PORT"
            )
        again = [sys.executable, "-m", "kpo.nodes", f"--rendezvous={BY_SLURM}{free_port()}"]
        again += sys.argv[1:]
        os.execvp("srun", [*srun(args.nodes, args.threads * args.each, gpus), *again])
    place, is_host = args.rendezvous, None
    if place.startswith(BY_SLURM):
        place = f"{os.environ['SLURM_LAUNCH_NODE_IPADDR']}:{place.removeprefix(BY_SLURM)}"
        is_host = os.environ["SLURM_NODEID"] == "0"
    os.environ.update(lease(gpus) if gpus else {})
    raise SystemExit(run_here(args.nodes, args.each, place, args.command, is_host))


if __name__ == "__main__":
    main()
