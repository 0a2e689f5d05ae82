"""The samples of an evaluation that is not finished: what a kill leaves, and going on from it.

A problem's rows are appended in one piece when its samples are there, in whatever order that is.
Nothing that is on disk is ever written over: a torn line is cut off; to drop a problem that lacks
rows, or to sort, a new file takes the place of the old one. When all is there the manifest is put
beside it; the two are then copied to where they belong, and only at the very end removed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kpo.common.files import sha256_file, sha256_json, sha256_path, write_json, write_text
from kpo.common.manifest import package_versions
from kpo.config.experiment import Experiment
from kpo.evals.records import ProblemKey, Sample, read_samples, write_rows


def inputs_hash(experiment: Experiment, run: str, model: Path, problems: Path | None) -> str:
    """Hash of all that a run's samples are made from: settings, model, problems and packages.

    Known without an engine and without a tokenizer.
    """
    names = experiment.evaluate.benchmarks if problems else []
    data = {name: sha256_file(Path(problems or "") / f"{name}.jsonl") for name in names}
    settings = experiment.section("evaluate")
    return sha256_json([settings, run, sha256_path(model), data, package_versions()])


class UnfinishedSamples:
    """The files beside `out`, samples.jsonl, in which its rows gather, and its manifest waits."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_name(f".{out.stem}.unfinished{out.suffix}")
        self.owner = self.path.with_suffix(".identity")
        self.manifest = self.path.with_suffix(".manifest.json")
        self.lock = out.with_name(f"{out.stem}.unfinished")
        """What `kpo.common.lock` is asked for by who writes these files."""

    def is_finished(self, inputs: str) -> bool:
        """Whether all samples from these inputs are there, with their manifest."""
        return self.manifest.is_file() and self._identity()[:1] == [inputs]

    def is_wanted(self, asked: Path) -> bool:
        """Whether what was asked for, by a file of this time, was not published since."""
        try:
            since = asked.stat().st_mtime_ns
            return self.out.with_name("manifest.json").stat().st_mtime_ns < since
        except FileNotFoundError:
            return asked.exists()

    def resume(self, inputs: str, protocol: str, samples: int) -> set[ProblemKey]:
        """The problems that have all `samples`. Raises BadRowError for a broken line.

        A file of other inputs, or sampled under another protocol, is started anew.
        """
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.manifest.unlink(missing_ok=True)
        if not self.path.is_file() or self._identity() != [inputs, protocol]:
            self.path.unlink(missing_ok=True)
            write_json(self.owner, [inputs, protocol])
            return set()
        os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)
        rows = read_samples(self.path)
        counts = Counter(row.problem for row in rows)
        done = {key for key, count in counts.items() if count == samples}
        if len(done) < len(counts):
            write_rows(self.path, (row for row in rows if row.problem in done))
        return done

    def append(self, rows: Sequence[Sample]) -> None:
        """Put the rows of some problems on disk."""
        with self.path.open("a") as file:
            file.write("".join(row.line() for row in rows))
            file.flush()
            os.fsync(file.fileno())

    def sort(self, order: Sequence[ProblemKey]) -> list[Sample]:
        """Put the rows in this order of their problems; what they hold."""
        place = {key: i for i, key in enumerate(order)}
        rows = sorted(read_samples(self.path), key=lambda row: (place[row.problem], row.sample))
        write_rows(self.path, rows)
        return rows

    def publish(self) -> None:
        """Copy what is finished to where it belongs, the manifest last."""
        write_text(self.out, self.path.read_text())
        write_text(self.out.with_name("manifest.json"), self.manifest.read_text())

    def remove(self) -> None:
        """Forget these files, now that all that was to be made of them is there."""
        for file in (self.manifest, self.path, self.owner):
            file.unlink()

    def _identity(self) -> list[str]:
        """Hashes of the inputs and of the protocol; nothing where none were written."""
        try:
            found: list[str] = json.loads(self.owner.read_text())
        except (OSError, ValueError):
            return []
        return found
