"""One killable grading process: `python -m evals.grading.worker MEMORY_MB TIMEOUT_S`.

Reads one JSON request a line from stdin and writes one JSON reply a line to stdout:

    {"gold": str, "answer": str | null, "rule": str}  ->  {"correct": bool, "retire": bool}
                                                       |  {"too_large": true, "retire": false}
                                                       |  {"error": str, "retire": bool}

after a first line `{"ready": true}` (or `{"fatal": str}`) once math-verify is imported. An answer
of null asks about the gold alone: does it parse, and is it equal to itself? JSON is ASCII-escaped
in both directions, so a lone surrogate survives.

Limits: address space by RLIMIT_AS; time is the parent's business, but each request also arms the
kernel's own alarm, so a worker whose parent was killed cannot compute for ever (the default
action of SIGALRM ends the process even while an integer power holds the interpreter lock).
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from evals.grading.rules import RULES

ORPHAN_GRACE_S = 5.0  # the kernel's alarm fires this long after the parent's deadline
RETIRE_SHARE = 0.75  # of the memory limit; a worker whose address space peaked above it is replaced


def peak_memory_mb() -> float:
    """Peak address space of this process in MiB (0 where /proc does not tell)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    for line in status.read_text().splitlines():
        if line.startswith("VmPeak:"):
            return int(line.split()[1]) / 1024
    return 0.0


def reply_to(request: dict[str, Any], memory_mb: int) -> dict[str, Any]:
    """Answer one request; math-verify swallows MemoryError, so a high peak counts as one."""
    from evals.grading.equivalence import TooLargeError, is_usable  # noqa: PLC0415 - after the limit

    gold, answer = request["gold"], request["answer"]
    try:
        correct = is_usable(gold) if answer is None else RULES[request["rule"]](gold, answer)
        reply: dict[str, Any] = {"correct": correct}
    except TooLargeError:
        return {"too_large": True, "retire": False}
    except MemoryError:
        return {"error": "memory", "retire": True}
    except Exception as error:  # any surprise is this answer's error, not the run's
        reply = {"error": type(error).__name__}
    reply["retire"] = peak_memory_mb() > RETIRE_SHARE * memory_mb
    if reply["retire"] and not reply.get("correct"):
        return {"error": "memory", "retire": True}
    return reply


def serve(requests: Iterator[str], replies: TextIO, memory_mb: int, timeout_s: float) -> None:
    """Answer requests until stdin ends, each under the kernel's alarm."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in requests:
        signal.setitimer(signal.ITIMER_REAL, timeout_s + ORPHAN_GRACE_S)
        reply = reply_to(json.loads(line), memory_mb)
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main() -> None:
    """Set the limits, import math-verify, say so, serve."""
    memory_mb, timeout_s = int(sys.argv[1]), float(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # nothing a library prints may reach the protocol
    try:
        limit = memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        logging.disable(logging.CRITICAL)
        for rule in RULES:  # import, warm the parser
            reply_to({"gold": "\\frac{1}{2}", "answer": "0.5", "rule": rule}, memory_mb)
        if peak_memory_mb() > RETIRE_SHARE * memory_mb:
            raise MemoryError(f"math-verify alone takes {peak_memory_mb():.0f} MiB")
    except Exception as error:
        replies.write(json.dumps({"fatal": f"{type(error).__name__}: {error}"}) + "\n")
        replies.flush()
        return
    replies.write(json.dumps({"ready": True}) + "\n")
    replies.flush()
    serve(iter(sys.stdin.readline, ""), replies, memory_mb, timeout_s)


if __name__ == "__main__":
    main()
