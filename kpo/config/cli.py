"""Arguments of the command lines that name an experiment or a method of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from kpo.common.cli import fail
from kpo.config.experiment import ConfigError, Experiment, load_experiment


def experiment_argument(parser: argparse.ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument("--config", required=True, help="experiment file (YAML), read")


def load_or_exit(path: str) -> Experiment:
    """The experiment, or its faults on stderr and exit code 2."""
    try:
        return load_experiment(path)
    except ConfigError as error:
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
