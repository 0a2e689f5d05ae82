"""The samples of an evaluation that is not finished: what a kill leaves, and going on from it.

A problem's rows are appended in one piece when its samples are there, in whatever order that is.
Nothing that is on disk is ever written over: a torn line is cut off; to drop a problem that lacks
rows, the others are written to a new file, which takes the place of the old one; and the finished
file is written, in the order of the problems, before the unfinished one is removed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.sample_file import Sample, read_samples
from kpo.files import write_text

Key = tuple[str, str]
"""Benchmark and id of a problem."""


class UnfinishedSamples:
    """The file beside `out` in which its rows gather.

    Args:
        out: samples.jsonl, as it will be.
        identity: hash of all that the samples depend on; a file of another is started anew.
        samples: of each problem.
    """

    def __init__(self, out: Path, identity: str, samples: int) -> None:
        self.out, self.identity, self.samples = out, identity, samples
        self.path = out.with_name(f".{out.stem}.unfinished{out.suffix}")
        self.owner = self.path.with_suffix(".identity")

    def resume(self) -> set[Key]:
        """The problems whose samples are all there. Raises BadRowError for a broken line."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if not (self.path.is_file() and self._is_ours()):
            self.path.unlink(missing_ok=True)
            write_text(self.owner, self.identity)
            return set()
        content = self.path.read_bytes()
        os.truncate(self.path, content.rfind(b"\n") + 1)
        counts = Counter((row.benchmark, row.id) for row in read_samples(self.path))
        done = {key for key, count in counts.items() if count == self.samples}
        if len(done) < len(counts):
            lines = self.path.read_text().splitlines(keepends=True)
            write_text(self.path, "".join(line for line in lines if _key(line) in done))
        return done

    @contextmanager
    def appending(self) -> Iterator[Callable[[Sequence[dict[str, Any]]], None]]:
        """A function that puts the rows of a problem on disk."""
        with self.path.open("a") as file:

            def append(rows: Sequence[dict[str, Any]]) -> None:
                file.write("".join(json.dumps(row) + "\n" for row in rows))
                file.flush()
                os.fsync(file.fileno())

            yield append

    def publish(self, order: Sequence[Key]) -> list[Sample]:
        """Write `out`, problem by problem in this order; what it holds. `remove` comes later."""
        place = {key: i for i, key in enumerate(order)}
        samples = read_samples(self.path)
        lines = zip(samples, self.path.read_text().splitlines(keepends=True), strict=True)
        ordered = sorted(
            lines, key=lambda pair: (place[pair[0].benchmark, pair[0].id], pair[0].sample)
        )
        write_text(self.out, "".join(line for _, line in ordered))
        return [sample for sample, _ in ordered]

    def remove(self) -> None:
        """Forget the unfinished file, now that all that was to be made of it is there."""
        self.path.unlink()
        self.owner.unlink()

    def _is_ours(self) -> bool:
        return self.owner.is_file() and self.owner.read_text() == self.identity


def _key(line: str) -> Key:
    row = json.loads(line)
    return row["benchmark"], row["id"]
