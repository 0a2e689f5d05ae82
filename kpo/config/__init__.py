"""The experiment file: its settings, their checks, the command lines that read it."""
