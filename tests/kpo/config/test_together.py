"""Settings that go together at their bounds, and beyond them do not."""

from pathlib import Path
from typing import Any

import pytest

from kpo.config.train import Train
from tests.kpo.config.experiments import DROP, SCRATCH, Tree, changed, load, refusal


def small(section: str, settings: Tree) -> Tree:
    """The small experiment, of 8 prompts in 4 mini-batches, with these settings in a section."""
    return {**SCRATCH, section: {**SCRATCH[section], **settings}}


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("evaluate", {"temperature": 0.01}),
        ("evaluate", {"engine": "transformers", "gpus": 1}),
        ("evaluate", {"gpus": 2, "gpu_memory": 0.5}),
        ("train", {"ranks": 2}),
        ("train", {"gpus": 2}),
        ("train", {"ranks": 8}),
        ("train", {"max_tokens_per_microbatch": 24 + 80}),
        ("train", {"staleness": 1}),
    ],
)
def test_accepted(tmp_path: Path, section: str, settings: Tree) -> None:
    load(tmp_path, small(section, settings))


@pytest.mark.parametrize(
    ("section", "settings", "sentence"),
    [
        (
            "evaluate",
            {"temperature": 0, "samples": 2},
            "samples is 2, but at temperature 0 all samples of a problem are the same: set samples"
            " to 1, or a higher temperature",
        ),
        (
            "evaluate",
            {"engine": "transformers", "gpus": 1, "gpu_memory": 0.5},
            "gpu_memory (0.5) has no use without engine vllm on a GPU (engine is transformers, gpus"
            " 1); drop it",
        ),
        (
            "train",
            {"mini_batches": 7},
            "mini_batches (7) must divide prompts (8), as a mini-batch holds whole groups",
        ),
        (
            "train",
            {"gpus": 1, "ranks": 2},
            "gpus (1) and ranks (2) exclude each other: ranks are processes on the CPU",
        ),
        (
            "train",
            {"max_tokens_per_microbatch": 24 + 80 - 1},
            "max_tokens_per_microbatch (103) must hold one prompt and its response,"
            " max_prompt_tokens + max_response_tokens (104)",
        ),
        (
            "train",
            {"ranks": 3},
            "the 3 processes must divide a mini-batch's 16 responses (prompts / mini_batches x"
            " group)",
        ),
        (
            "train",
            {"ranks": 16},
            "prompts (8) must be at least one for each of the 16 processes",
        ),
    ],
)
def test_refused(tmp_path: Path, section: str, settings: Tree, sentence: str) -> None:
    assert refusal(tmp_path, small(section, settings)) == [f"{section}: {sentence}"]


@pytest.mark.parametrize(("epochs", "steps"), [(1, 2), (3, 7)])
def test_epochs_are_whole_batches_of_prompts(epochs: int, steps: int) -> None:
    settings: dict[str, Any] = changed(SCRATCH, "train/steps", DROP)["train"]
    assert Train(**settings, epochs=epochs).total_steps(20) == steps
