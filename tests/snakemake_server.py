"""Runs snakemake for tests: every call is a fork of a process that has loaded all it needs.

Reads requests from stdin, a line of JSON each (`cwd`, `env`, `argv`, and `out`, the file for what
the call says), and answers with the exit code.
"""

import gc
import json
import os
import sys
from typing import Any

from snakemake.cli import main as snakemake

import kpo.config.experiment  # noqa: F401 - what the Snakefile loads, and torch with it


def call(request: dict[str, Any]) -> int:
    """One call of snakemake, in a process of its own; its exit code."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(out, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv = ["snakemake", *request["argv"]]
        snakemake()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    gc.freeze()  # what calls share is not looked through by each of them
    for line in sys.stdin:
        print(call(json.loads(line)), flush=True)
