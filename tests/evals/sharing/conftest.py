"""A finished run, and a hub that takes uploads, in the place of the real one."""

import json
from pathlib import Path

import pytest
import yaml

from kpo.model.policy import save_model, weights_hash
from tests.evals.demo import write_rows
from tests.evals.sharing.uploads import TOKEN, FakeHub
from tests.kpo.models import tiny_policy

PROMPT = {"name": "plain", "chat_template_sha256": None}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with the experiment around it."""
    experiment = tmp_path_factory.mktemp("results") / "tiny"
    run = experiment / "runs/gspo-s1"
    policy = tiny_policy(seed=3)
    save_model(policy.model, policy.tokenizer, run / "model")
    (run / "model/.snakemake_timestamp").touch()
    weights = weights_hash(run / "model")
    manifest = {
        "experiment": "tiny",
        "seed": 1,
        "base": "b",
        "prompt": PROMPT,
        "settings": {"train": {"prompts": 32, "group": 8, "lr": 1e-4}},
        "weights": weights,
        "learning": {"steps": 2, "still_steps": 0, "moved_weights": 1.0},
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    method = {"objective": "gspo", "clip_low": 3e-4, "clip_high": 4e-4, "code": "c"}
    (run / "config.yaml").write_text(yaml.safe_dump({"method": method}, sort_keys=False))
    write_rows(run / "metrics.jsonl", [{"step": 0, "reward": 0.5}, {"step": 1, "reward": 0.6}])
    (experiment / "base").mkdir()
    base = {"weights": "b", "origin": "Qwen/Qwen3-4B@0123"}
    (experiment / "base/manifest.json").write_text(json.dumps(base))
    evaluated = experiment / "evals/gspo-s1"
    evaluated.mkdir(parents=True)
    row = {"benchmark": "easy", "status": "ok", "extracted": "7", "tokens": 9, "finish": "stop"}
    right = [("a", 0, True), ("a", 1, False), ("b", 0, False), ("b", 1, False)]
    rows = [{**row, "id": i, "sample": j, "correct": correct} for i, j, correct in right]
    write_rows(evaluated / "grades.jsonl", rows)
    protocol = {"engine": {"name": "vllm", "dtype": "float32"}}
    evaluation = {"model": weights, "protocol": protocol}
    (evaluated / "manifest.json").write_text(json.dumps(evaluation))
    return run


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeHub]:
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(FakeHub, "uploads", [], raising=False)
    return FakeHub
