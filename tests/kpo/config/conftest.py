"""Experiment files are read where vLLM is installed and the environment names no folder of data."""

import pytest


@pytest.fixture(autouse=True)
def _with_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpo.config.evaluate.find_spec", lambda _: object())


@pytest.fixture(autouse=True)
def _no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)
