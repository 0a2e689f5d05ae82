"""Dumps of made-up rollouts, in every form that is read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

Row = dict[str, Any]


def made_rows(count: int = 24, seed: int = 0, longest: int = 9) -> list[Row]:
    """Responses of 1 to `longest` tokens with all that a dump may hold; numbers of float32."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        T = int(rng.integers(1, longest + 1))
        old = -0.05 - rng.exponential(1, T)
        z = rng.choice([1e-4, 1e-2, 0.3]) * rng.normal(0.3, 1, T)
        single = np.float32
        rows.append(
            {
                "logprobs": np.minimum(old + z, 0).astype(single).tolist(),
                "old_logprobs": old.astype(single).tolist(),
                "rollout_logprobs": (old - 1e-3 * rng.random(T)).astype(single).tolist(),
                "advantage": float(single(rng.choice([-1.5, 0.0, 0.5, 2.0]))),
                "tokens": [f"<{i}&{t}>" for t in range(T)],
                "prompt": f"What is {i // 4}?",
                "step": i // 4,
                "use": "first" if i % 4 < 2 else "later",
            }
        )
    return rows


def padded(rows: Sequence[Row], value: float = float("nan")) -> list[Row]:
    """The same responses with lists of one length, garbage behind the end, and a mask."""
    length = max(len(row["logprobs"]) for row in rows)

    def filled(cell: Any) -> Any:
        if not isinstance(cell, list):
            return cell
        filler = "pad" if isinstance(cell[0], str) else value
        return cell + [filler] * (length - len(cell))

    return [
        {name: filled(cell) for name, cell in row.items()}
        | {"mask": [int(t < len(row["logprobs"])) for t in range(length)]}
        for row in rows
    ]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    parquet.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=5)
    return path


def _packed(path: Path, rows: Sequence[Row]) -> Path:
    path.write_bytes(gzip.compress(write_lines(path, rows).read_bytes()))
    return path


def _shards(path: Path, rows: Sequence[Row]) -> Path:
    path.mkdir()
    write_parquet(path / "000001.parquet", rows[:7])
    write_parquet(path / "000002.parquet", rows[7:])
    return path


def _singles(path: Path, rows: Sequence[Row]) -> Path:
    """Parquet with float32 and large lists."""
    kinds = {name: pa.large_list(pa.float32()) for name in rows[0] if name.endswith("logprobs")}
    table = pa.Table.from_pylist(list(rows))
    fields = [pa.field(f.name, kinds.get(f.name, f.type)) for f in table.schema]
    parquet.write_table(table.cast(pa.schema(fields)), path)
    return path


def _saved(path: Path, rows: Sequence[Row]) -> Path:
    datasets.Dataset.from_list(list(rows)).save_to_disk(path, num_shards=2)
    return path


def _splits(path: Path, rows: Sequence[Row]) -> Path:
    one = datasets.Dataset.from_list(list(rows))
    datasets.DatasetDict({"train": one}).save_to_disk(path)
    return path


def _arrow(path: Path, rows: Sequence[Row]) -> Path:
    table = pa.Table.from_pylist(list(rows))
    with ipc.new_file(path, table.schema) as file:
        file.write_table(table, max_chunksize=4)
    return path


FORMS: dict[str, Callable[[Path, Sequence[Row]], Path]] = {
    "lines": write_lines,
    "packed": _packed,
    "parquet": write_parquet,
    "singles": _singles,
    "shards": _shards,
    "saved": _saved,
    "splits": _splits,
    "arrow": _arrow,
}
