"""What a run writes while it trains: JSONL metrics, timings, what its trackers are told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kpo.trainer.trackers import TensorBoard, Unharmed, tagged

Row = tuple[int, dict[str, float], dict[str, float]]
"""A step, its metrics, and the seconds of its phases."""


class RunLog(ExitStack):
    """Writes metrics.jsonl (reproducible) and timings.jsonl (not), a line a step, and events.

    Seconds stand in a file of their own, so that two equal runs have equal metrics files. Without a
    folder, on ranks other than the main one, nothing is written. `tracker` is told every step too.
    """

    def __init__(self, folder: Path | None, tracker: Unharmed | None = None) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.seconds: dict[str, float] = {}
        self.written = folder is not None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            names = ("metrics.jsonl", "timings.jsonl")
            self.files = [self.enter_context((folder / n).open("w", buffering=1)) for n in names]
            self.events = self.enter_context(TensorBoard(folder / "tensorboard"))
            self.tracker = None if tracker is None else self.enter_context(tracker)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's wall time to a phase of the present step."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def begin(self, rows: Sequence[Row] = ()) -> None:
        """Start an empty log; the rows are those of a run that goes on."""
        if self.written and self.tracker is not None:
            self.tracker.open(resumed=bool(rows))
        for step, metrics, seconds in rows:
            self.seconds = seconds
            self.step(step, metrics)

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """Write one step's metrics and the seconds of its phases."""
        seconds = {name: round(value, 6) for name, value in self.seconds.items()}
        self.seconds = {}
        self.rows.append((step, metrics, seconds))
        if not self.written:
            return
        for file, row in zip(self.files, (metrics, seconds), strict=True):
            file.write(json.dumps({"step": step, **row}) + "\n")
        values = tagged(metrics, seconds)
        self.events.step(step, values)
        if self.tracker is not None:
            self.tracker.step(step, values)
