"""Stored responses for tests of commands that read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def row(index: int, answer: str, response: str, /, **changes: Any) -> dict[str, Any]:
    base = {"benchmark": "minerva", "id": f"m/{index}", "sample": 0, "answer": answer}
    return {**base, "response": response, "tokens": 9, "finish": "stop", "seed": 1, **changes}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    return path


def visible(folder: Path) -> list[Path]:
    """What lies in a folder beside the locks of what is made there."""
    return [path for path in folder.iterdir() if not path.name.endswith(".lock")]
