"""What the command lines share: the experiment argument and clean errors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from kpo.common.lock import HeldError, hold
from kpo.config.experiment import ConfigError, Experiment, load_experiment


def experiment_argument(parser: argparse.ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument("--config", required=True, help="experiment file (YAML), read")


def fail(message: object) -> NoReturn:
    """End with one message on stderr and exit code 2."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(2)


def warn(message: object) -> None:
    """One message on stderr."""
    sys.stderr.write(f"warning: {message}\n")


def load_or_exit(path: str) -> Experiment:
    """The experiment, or its faults on stderr and exit code 2."""
    try:
        return load_experiment(path)
    except ConfigError as error:
        fail(error)


def hold_or_exit(path: Path) -> None:
    """Be the only process that makes `path`; else a sentence on stderr and exit code 2."""
    try:
        hold(path)
    except HeldError as error:
        fail(error)


def method_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --config, --method and --base."""
    experiment_argument(parser)
    parser.add_argument("--method", required=True, help="a key under methods: in the file")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base policy, read")


def method_or_exit(args: argparse.Namespace) -> Experiment:
    """The experiment that `method_arguments` name; what is wrong with them, and exit code 2."""
    experiment = load_or_exit(args.config)
    if args.method not in experiment.methods:
        fail(f"{args.config}: no method {args.method!r}; there is {', '.join(experiment.methods)}")
    if not args.base.is_dir():
        fail(f"--base {args.base}: no such folder")
    return experiment
