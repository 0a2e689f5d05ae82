"""The lines of the README train, as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed: make test-integrations")

from datasets import Dataset

from kpo.integrations.trl import KPOTrainer
from tests.integrations.trl import tiny

PAGE = Path(__file__).parents[3] / "kpo/integrations/README.md"


def test_the_lines_of_the_readme_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a folder has the name of the model, it is the model."""
    section = PAGE.read_text().split("\n## TRL")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    monkeypatch.chdir(tmp_path)
    policy = tiny.policy()
    policy.model.save_pretrained("Qwen/Qwen3-4B-Base")
    policy.tokenizer.save_pretrained("Qwen/Qwen3-4B-Base")
    names: dict[str, Any] = {
        "reward": tiny.reward,
        "problems": Dataset.from_dict({"prompt": tiny.PROMPTS * 4}),
    }
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)
    trainer = names["trainer"]
    assert isinstance(trainer, KPOTrainer)
    assert trainer.state.global_step == 12  # three epochs of one generation, of four updates
