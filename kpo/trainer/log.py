"""What a run writes while it trains: JSONL metrics, timings, TensorBoard events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TextIO

from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes metrics.jsonl (reproducible) and timings.jsonl (not), a line a step, and events.

    Seconds stand in a file of their own, so that two equal runs have equal metrics files. Without a
    folder, on ranks other than the main one, nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.seconds: dict[str, float] = {}
        self.metrics: TextIO | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.metrics = (folder / "metrics.jsonl").open("w+")
            self.timings = (folder / "timings.jsonl").open("w+")
            self.events = SummaryWriter(str(folder / "tensorboard"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.metrics is not None:
            self.metrics.close()
            self.timings.close()
            self.events.close()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's wall time to a phase of the present step."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def text(self) -> list[str]:
        """What the two files hold, to be written again by `rewrite`."""
        if self.metrics is None:
            return []
        texts = []
        for file in (self.metrics, self.timings):
            file.seek(0)
            texts.append(file.read())
        return texts

    def rewrite(self, texts: list[str]) -> None:
        """Put into an empty log what `text` gave, events included."""
        if self.metrics is None:
            return
        metrics, timings = ([json.loads(line) for line in text.splitlines()] for text in texts)
        for row, seconds in zip(metrics, timings, strict=True):
            self.seconds = {k: v for k, v in seconds.items() if k != "step"}
            self.step(row.pop("step"), row)

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """Write one step's metrics and the seconds of its phases."""
        seconds = {name: round(value, 6) for name, value in self.seconds.items()}
        self.seconds = {}
        if self.metrics is None:
            return
        self.metrics.write(json.dumps({"step": step, **metrics}) + "\n")
        self.timings.write(json.dumps({"step": step, **seconds}) + "\n")
        self.metrics.flush()
        self.timings.flush()
        for name, value in metrics.items():
            self.events.add_scalar(name, value, step)
        for name, value in seconds.items():
            self.events.add_scalar(f"seconds/{name}", value, step)
