"""One killable grading process: `python -m evals.grading.worker MEMORY_MB TIMEOUT_S`.

Reads one JSON request a line from stdin and writes one JSON reply a line to stdout, fields of
`evals.grading.pool.Request` and `Reply`; `retire` asks for another worker in this one's place:

    {"gold": str, "answer": str | null, "rule": str}  ->  {"reply": {...}, "retire": bool}

A first such line says that math-verify is imported, or why it cannot be. An answer of null asks
about the gold alone: does it parse, and is it equal to itself? JSON is ASCII-escaped in both
directions, so a lone surrogate survives.

Limits: address space by RLIMIT_AS, on Linux; time is the parent's business, but each request also
arms the kernel's own alarm, so a worker whose parent was killed cannot compute for ever (the
default action of SIGALRM ends the process even while an integer power holds the interpreter lock).
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from kpo.evals.grading.rules import RULES
from kpo.evals.grading.statuses import Status

ORPHAN_GRACE_S = 5.0  # the kernel's alarm fires this long after the parent's deadline
RETIRE_SHARE = 0.75  # of the memory limit; a worker whose address space peaked above it is replaced


def peak_memory_mb() -> float:
    """Peak address space of this process in MiB (0 where /proc does not tell)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmPeak:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


def reply_to(request: dict[str, Any], memory_mb: int) -> dict[str, Any]:
    """Answer one request; math-verify swallows MemoryError, so a high peak counts as one."""
    from kpo.evals.grading.equivalence import TooLargeError, is_usable  # noqa: PLC0415 - after the limit

    gold, answer = request["gold"], request["answer"]
    try:
        correct = is_usable(gold) if answer is None else RULES[request["rule"]](gold, answer)
        reply = _message("ok", correct=correct)
    except TooLargeError:
        return _message("timeout", reason="a power too large to evaluate")
    except MemoryError:
        return _OUT_OF_MEMORY
    except Exception as error:  # any surprise is this answer's error, not the run's
        correct, reply = False, _message("error", reason=type(error).__name__)
    if peak_memory_mb() <= RETIRE_SHARE * memory_mb:
        return reply
    return {**reply, "retire": True} if correct else _OUT_OF_MEMORY


def _message(status: Status, *, retire: bool = False, **reply: Any) -> dict[str, Any]:
    return {"reply": {"status": status, **reply}, "retire": retire}


_OUT_OF_MEMORY = _message("error", reason="memory", retire=True)


def main() -> None:
    """Set the limits, import math-verify, say so, serve until stdin ends."""
    memory_mb, timeout_s = int(sys.argv[1]), float(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # nothing a library prints may reach the protocol

    def send(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=replies, flush=True)

    try:
        limit = memory_mb * 2**20
        if sys.platform == "linux":  # macOS refuses it
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        logging.disable(logging.CRITICAL)
        for rule in RULES:  # import, warm the parser
            reply_to({"gold": "\\frac{1}{2}", "answer": "0.5", "rule": rule}, memory_mb)
        if peak_memory_mb() > RETIRE_SHARE * memory_mb:
            raise MemoryError(f"math-verify alone takes {peak_memory_mb():.0f} MiB")
    except Exception as error:
        send(_message("error", reason=f"{type(error).__name__}: {error}", retire=True))
        return
    send(_message("ok"))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in iter(sys.stdin.readline, ""):
        signal.setitimer(signal.ITIMER_REAL, timeout_s + ORPHAN_GRACE_S)
        reply = reply_to(json.loads(line), memory_mb)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(reply)


if __name__ == "__main__":
    main()
