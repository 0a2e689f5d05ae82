"""What the command lines share: the experiment argument and clean errors."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from kpo.config import ConfigError, Experiment, load_experiment


def experiment_argument(parser: argparse.ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument("--config", required=True, help="experiment file (YAML), read")


def fail(message: object) -> NoReturn:
    """End with one message on stderr and exit code 2."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(2)


def load_or_exit(path: str) -> Experiment:
    """The experiment, or its faults on stderr and exit code 2."""
    try:
        return load_experiment(path)
    except ConfigError as error:
        fail(error)
