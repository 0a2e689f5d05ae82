"""Graders that tests share, and ones that must not ask anybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kpo.evals.grading.grader import Grader
from kpo.evals.grading.pool import Reply, WorkerPool
from tests.patience import FAR_S


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=2, timeout_s=FAR_S) as shared:
        yield shared


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("kpo.evals.grading.pool.subprocess.Popen", refuse)


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Reply]:
    """What the workers reply from now on."""
    seen: list[Reply] = []
    run = WorkerPool.run

    def recording(self: WorkerPool, *args: Any) -> list[Reply]:
        seen.extend(found := run(self, *args))
        return found

    monkeypatch.setattr(WorkerPool, "run", recording)
    return seen
