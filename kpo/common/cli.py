"""How command lines end: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class UserError(ValueError):
    """What a user can mend; the message is a sentence for whoever started the command."""


@contextmanager
def _command() -> Iterator[None]:
    atexit.register(gc.freeze)  # else a second goes by at the end, in looking for what can go
    try:
        yield
    except UserError as error:
        fail(error)
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered
        raise SystemExit(1) from None


command = _command()
"""Decorates the `main` of a command line: a UserError is its sentence on stderr and exit code 2.

An output that nobody reads on is no error of the program's.

What takes long to import, a command imports when its arguments are read: `--help` comes at once.
"""


def fail(message: object) -> NoReturn:
    """End with one message on stderr and exit code 2."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(2)


def warn(message: object) -> None:
    """One message on stderr."""
    sys.stderr.write(f"warning: {message}\n")
