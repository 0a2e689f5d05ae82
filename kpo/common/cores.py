"""The cores that this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Their number; of all there are where the system does not say, as on macOS."""
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return len(usable(0))
