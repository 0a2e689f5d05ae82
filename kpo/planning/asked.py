"""What a profile asks of a scheduler for each rule's jobs, beside what the command line asks."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from typing import Any

OF_ALL = "all"
OPTIONS = "slurm_extra"
"""A resource of further options of sbatch, which are added up."""

Value = int | str


def asked(
    jobs: Mapping[str, Mapping[str, Any]], rule: str, own: Mapping[str, Any], told: Collection[str]
) -> dict[str, Value]:
    """The resources that a rule gets beside its own.

    Args:
        jobs: the profile's, by rule; those under `all` where nothing else says more.
        rule: its name.
        own: its resources as Snakemake has them, those of the command line among them.
        told: names of those that --set-resources gives to this rule.
    """
    general, special = (_values(jobs.get(name) or {}) for name in (OF_ALL, rule))
    row = {name: value for name, value in general.items() if name not in own}
    row |= {name: value for name, value in special.items() if name not in told}
    options = general.get(OPTIONS), special.get(OPTIONS), OPTIONS in own and _text(own[OPTIONS])
    if any(options):
        row[OPTIONS] = " ".join(str(part) for part in options if part)
    return row


def _values(row: Mapping[str, Any]) -> dict[str, Value]:
    """As resources have them; from a profile all come as text."""
    texts = {key: str(value) for key, value in row.items()}
    return {key: int(text) if text.isdigit() else text for key, text in texts.items()}


def _text(resource: Any) -> str:
    """That the command line gives, where it may stand as a Python string."""
    try:
        return str(ast.literal_eval(str(resource.raw)))
    except (SyntaxError, ValueError):
        return str(resource.raw)
