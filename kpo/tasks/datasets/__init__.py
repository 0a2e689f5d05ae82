"""Data sets of problems: where each lives, how its rows are read and cleaned."""
