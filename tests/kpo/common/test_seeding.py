"""Deterministic kernels: asked for as torch wants it, and enough for everything that trains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kpo.common.seeding import ask_for_determinism
from kpo.kalman import kalman_filter
from tests.kpo.trainer.runs import tiny_trainer

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undoes what is asked of torch."""
    monkeypatch.setenv(WORKSPACE, "")
    del os.environ[WORKSPACE]
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("kernels")
def test_torch_and_cublas_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ask_for_determinism()
    assert torch.are_deterministic_algorithms_enabled()
    assert (
        not torch.is_deterministic_algorithms_warn_only_enabled()
    )  # which flash attention ignores
    assert os.environ[WORKSPACE] == ":4096:8"
    monkeypatch.setenv(WORKSPACE, ":16:8")
    ask_for_determinism()
    assert os.environ[WORKSPACE] == ":16:8"


@pytest.mark.usefixtures("kernels")
def test_training_has_a_deterministic_form_and_on_the_cpu_no_other(tmp_path: Path) -> None:
    runs = []
    z = torch.linspace(-1, 1, 60).view(2, 30)
    for name in ("as it is", "asked for"):
        tiny_trainer(tmp_path / name, steps=2).train()
        metrics = (tmp_path / name / "metrics.jsonl").read_bytes()
        runs.append((metrics, kalman_filter(z, z.abs() > 0.1, q=0.01).tolist()))
        ask_for_determinism()
    assert runs[0] == runs[1]
