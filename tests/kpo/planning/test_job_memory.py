"""Memory that jobs ask for follows the model's size."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kpo.config.experiment import load_experiment
from kpo.config.policy import PretrainedPolicy
from kpo.planning.job_memory import (
    PROCESS_MB,
    UNKNOWN,
    base_mb,
    parameters,
    sample_mb,
    shootout_mb,
    train_mb,
)

CONFIGS = Path("workflow/config").resolve()
TINY = load_experiment(CONFIGS / "tiny.yaml")


@pytest.fixture
def qwen3_4b() -> PretrainedPolicy:

    return PretrainedPolicy(**yaml.safe_load((CONFIGS / "paper.yaml").read_text())["policy"])


def model(folder: Path, size: int) -> str:
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(size)
    (folder / "tokenizer.json").write_text("not a weight")
    return str(folder)


def test_the_base_of_the_paper_fits_into_what_its_job_asks_for(qwen3_4b: PretrainedPolicy) -> None:
    assert parameters(qwen3_4b) == pytest.approx(4.02e9, rel=0.01)
    stored = 2 * 4.02e9  # bfloat16
    assert base_mb(qwen3_4b) > 3 * stored / 1e6


def test_a_larger_model_asks_for_more(tmp_path: Path) -> None:
    small, large = (model(tmp_path / name, size) for name, size in [("a", 10**6), ("b", 4 * 10**9)])
    train = TINY.train
    assert sample_mb(small) == PROCESS_MB + 3
    assert sample_mb(large) == PROCESS_MB + 12_000
    assert train_mb(large, train) > train_mb(large, train.model_copy(update={"gpus": 1}))
    two = train.model_copy(update={"gpus": 2})
    assert train_mb(large, two) == PROCESS_MB + 40_000
    assert shootout_mb(large, train) - train_mb(large, train) > 96 * 4 * 2e9 / 1e6  # the truth's
    assert train_mb(large, two.model_copy(update={"nodes": 2})) == train_mb(large, two)  # of each
    local = PretrainedPolicy(kind="pretrained", model=large)
    assert base_mb(local) == PROCESS_MB + 16_000
    assert base_mb(TINY.policy) < PROCESS_MB + 10


def test_a_model_that_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sample_mb(str(tmp_path / "model"))
    assert parameters(PretrainedPolicy(kind="pretrained", model="owner/name")) == UNKNOWN
