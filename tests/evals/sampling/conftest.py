"""Sampling with an engine that answers at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from kpo.evals import sample
from kpo.evals.sampling import sampler as sampling
from kpo.model.policy import save_model
from tests.evals.sampled import experiment, write_problems
from tests.evals.sampling.faked import FakeEngine, Row, Run
from tests.kpo.models import tiny_policy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_problems(tmp_path_factory.mktemp("problems"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "evals" / "samples.jsonl"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, model: Path, problems: Path, out: Path) -> Run:
    """Samples with a fake engine; returns the engine and the rows."""

    def run_(
        name: str = "grpo-s0",
        calls: int = 10**9,
        folder: Path = model,
        queue: Path | None = None,
        **evaluate: Any,
    ) -> tuple[FakeEngine, list[Row]]:
        engine = FakeEngine(calls)

        def make_engine(*arguments: Any, **options: Any) -> FakeEngine:
            engine.options = {"arguments": arguments, **options}
            return engine

        monkeypatch.setattr(sampling, "make_engine", make_engine)
        try:
            sample.run(experiment(**evaluate), name, folder, problems, out, queue)
        except KeyboardInterrupt:
            return engine, []
        return engine, [json.loads(line) for line in out.read_text().splitlines()]

    return run_
