"""Runs the jobs of tests' workflows: each is a fork of a process that has torch and transformers.

Importing them takes a job longer than what it then does on a test's few tokens. Nothing of the
project is loaded beforehand: a job finds it by its own PYTHONPATH. Requests come from
`tests/job_client.py` through a socket: `cwd`, `env` and `argv` as JSON, with the three standard
streams; the answer is the exit code. A job whose client goes is terminated.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from typing import Any

import torch.distributed.fsdp  # noqa: F401
import transformers.models.qwen3.modeling_qwen3  # noqa: F401
from pydantic import BaseModel  # noqa: F401 - loaded on first use alone


def serve(address: str) -> dict[str, Any]:
    """Wait for requests until stdin ends; returns in the process of a job, with its request."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        print(flush=True)  # jobs may come
        gc.freeze()  # else each job takes more than a second to look through it, and at its end
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a `job`
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection = listener.accept()[0]
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                return job(connection)
            connection.close()
    sys.exit()


def job(connection: socket.socket) -> dict[str, Any]:
    """Start a job and send its exit code; returns in the job's process."""
    message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    if (pid := os.fork()) == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        request: dict[str, Any] = json.loads(message)
        return request
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(pid)
    gone = ended not in select.select([connection.fileno(), ended], [], [])[0]
    if gone:
        os.kill(pid, signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not gone:
        connection.sendall(json.dumps(code).encode())
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Do what `python <argv>` does."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    flag, module, *arguments = request["argv"]
    assert flag == "-m"
    sys.argv = [module, *arguments]
    sys.path[:0] = [request["cwd"], *os.environ.get("PYTHONPATH", "").split(":")]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    become(serve(sys.argv[1]))
