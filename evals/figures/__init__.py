"""Figures of what experiments found, from the files that tables are written to."""
