"""The manifests of all that stands behind an experiment's tables, said once where they agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KINDS = ("runs", "evals")
"""Folders of an experiment that hold a folder with a manifest for each run."""


def manifests(experiment: Path) -> dict[str, Any]:
    """The base policy's manifest, and by kind what all runs' say alike and what each says itself.

    A run's manifest is its own part laid over the shared one, dictionary by dictionary.
    """
    found: dict[str, Any] = {"base": json.loads((experiment / "base/manifest.json").read_text())}
    for kind in KINDS:
        paths = sorted(experiment.glob(f"{kind}/*/manifest.json"))
        shared, own = split([json.loads(path.read_text()) for path in paths])
        names = (path.parent.name for path in paths)
        found[kind] = {"shared": shared, "own": dict(zip(names, own, strict=True))}
    return found


def split(values: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all dictionaries have in common, and the rest of each."""
    shared: dict[str, Any] = {}
    own: list[dict[str, Any]] = [{} for _ in values]
    for key in dict.fromkeys(key for value in values for key in value):
        parts = [value[key] for value in values if key in value]
        everywhere = len(parts) == len(values)
        if everywhere and all(part == parts[0] for part in parts):
            shared[key] = parts[0]
        elif everywhere and all(isinstance(part, dict) for part in parts):
            shared[key], rests = split(parts)
            for mine, rest in zip(own, rests, strict=True):
                if rest:
                    mine[key] = rest
        else:
            for mine, value in zip(own, values, strict=True):
                if key in value:
                    mine[key] = value[key]
    return shared, own


def laid_over(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `split`, for one of the dictionaries."""
    both = {
        key: laid_over(shared[key], value)
        for key, value in own.items()
        if isinstance(shared.get(key), dict)
    }
    return {**shared, **own, **both}
