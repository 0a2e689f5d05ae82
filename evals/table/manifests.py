"""Manifests of runs, read and compared key by key, and the paper's own figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError


def parsed(path: Path, parse: Callable[[str], Any] = json.loads) -> Any:
    """What a file holds. Raises UserError where it is missing or no JSON."""
    if not path.is_file():
        raise UserError(f"{path} is missing.")
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not readable as JSON ({error}).") from error


def read_manifest(path: Path, *keys: str) -> dict[str, Any]:
    """A manifest with a mapping at each key. Raises UserError without one."""
    manifest = parsed(path)
    for key in keys:
        content = manifest.get(key) if isinstance(manifest, dict) else None
        if not isinstance(content, dict) or not content:
            raise UserError(f"{path} has no {key}.")
    return manifest


def read_reported(path: Path) -> list[dict[str, str]]:
    """The paper's figures in %, one mapping a method; unknown cells are empty."""
    rows: list[dict[str, str]] = parsed(path, lambda text: [*csv.DictReader(text.splitlines())])
    for row in rows:
        for column, text in row.items():
            if column is None or text is None or "method" not in row:
                raise UserError(f"{path}: a row does not fit the header, or has no method.")
            if column != "method" and text and not text.replace(".", "", 1).isdigit():
                raise UserError(f"{path}: {column} of {row['method']} is {text!r}, not a number.")
    return rows


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def runs_by(values: Mapping[str, str | None]) -> dict[str | None, list[str]]:
    """Names of runs by what they have."""
    found: dict[str | None, list[str]] = {}
    for run, value in values.items():
        found.setdefault(value, []).append(run)
    return found


def sides(values: Mapping[str, str]) -> str:
    """`this in one and another, that in a third`, the first few names of many."""
    named = {
        value: ", ".join(runs)
        if len(runs) <= 4
        else f"{', '.join(runs[:3])} and {len(runs) - 3} more runs"
        for value, runs in runs_by(values).items()
    }
    return " and ".join(f"{value} in {runs}" for value, runs in named.items())


def check_alike(records: Mapping[str, dict[str, Any]], what: str) -> None:
    """Raise UserError, saying which runs differ in which key of their flat records."""
    if faults := unlike(records):
        raise UserError(f"manifest.json: {what}: {'; '.join(faults)}.")


def unlike(records: Mapping[str, dict[str, Any]]) -> list[str]:
    """For each key that flat records do not agree in: what it is in which of them."""
    faults = []
    for key in dict.fromkeys(key for record in records.values() for key in record):
        values = {
            run: json.dumps(record[key], sort_keys=True) if key in record else "absent"
            for run, record in records.items()
        }
        if len(set(values.values())) > 1:
            faults.append(f"{key} is {sides(values)}")
    return faults
