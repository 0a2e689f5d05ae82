"""How command lines end: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class UserError(ValueError):
    """What a user can mend; the message is a sentence for whoever started the command."""


def command(main: Callable[P, R]) -> Callable[P, R]:
    """The command line `main`, in which a UserError is its sentence on stderr and exit code 2.

    What takes long to import, it imports when its arguments are read: `--help` comes at once.
    """

    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            fail(error)

    return run


def fail(message: object) -> NoReturn:
    """End with one message on stderr and exit code 2."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(2)


def warn(message: object) -> None:
    """One message on stderr."""
    sys.stderr.write(f"warning: {message}\n")
