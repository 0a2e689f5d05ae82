"""The experiment of `demo`, written once and copied for each test."""

import shutil
from pathlib import Path

import pytest

from tests.evals.demo import CONFIG, REPORTED, SKILL, write_run, write_training


@pytest.fixture(autouse=True)
def _no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("experiment")
    (root / "demo.yaml").write_text(CONFIG)
    (root / "results" / "reported").mkdir(parents=True)
    shutil.copy(REPORTED, root / "results" / "reported")
    write_run(root / "results/demo/evals/base", SKILL["base"], 0)
    for place, method in enumerate(list(SKILL)[1:]):
        for seed in range(3):
            write_run(
                root / f"results/demo/evals/{method}-s{seed}", SKILL[method], 10 * place + seed
            )
            write_training(root / f"results/demo/runs/{method}-s{seed}")
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """An experiment of its own that a test may spoil."""
    shutil.copytree(template, tmp_path / "root")
    return tmp_path / "root"
