"""How command lines end: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from kpo.common.lock import HeldError, hold


def fail(message: object) -> NoReturn:
    """End with one message on stderr and exit code 2."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(2)


def warn(message: object) -> None:
    """One message on stderr."""
    sys.stderr.write(f"warning: {message}\n")


def hold_or_exit(path: Path) -> None:
    """Be the only process that makes `path`; else a sentence on stderr and exit code 2."""
    try:
        hold(path)
    except HeldError as error:
        fail(error)
