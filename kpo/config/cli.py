"""Parsers of the command lines that name an experiment or a method of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment, load_experiment


def experiment_parser(
    module: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """The parser of `python -m module`, with --config."""
    parser = argparse.ArgumentParser(f"python -m {module}", description=description, epilog=epilog)
    parser.add_argument("--config", required=True, help="experiment file (YAML), read")
    return parser


def method_parser(
    module: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """The parser of `python -m module`, with --config, --method and --base."""
    parser = experiment_parser(module, description, epilog)
    parser.add_argument("--method", required=True, help="a key under methods: in the file")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base policy, read")
    return parser


def study_parser(module: str, description: str) -> argparse.ArgumentParser:
    """The parser of `python -m module`, which trains to look into it, and writes a table."""
    parser = experiment_parser(module, description)
    parser.add_argument("--base", type=Path, required=True, help="folder of the base policy, read")
    parser.add_argument("--problems", type=Path, help="as for kpo.train")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    return parser


def check_base(base: Path) -> None:
    """Raise UserError where there is no such folder."""
    if not base.is_dir():
        raise UserError(f"--base {base}: no such folder")


def experiment_of(args: argparse.Namespace) -> Experiment:
    """The experiment that a `method_parser` read. Raises UserError for what is not there."""
    experiment = load_experiment(args.config)
    if args.method not in experiment.methods:
        there = ", ".join(experiment.methods)
        raise UserError(f"{args.config}: no method {args.method!r}; there is {there}")
    if args.base is not None:
        check_base(args.base)
    return experiment
