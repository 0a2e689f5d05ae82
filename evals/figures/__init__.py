"""Figures of what experiments found, from the files that tables are written to."""

STALE = ("arms", "clip", "memory", "memory-long")
"""Experiments of the stale regime, in which runs collapse: one figure of them all."""
