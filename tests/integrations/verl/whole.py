"""A whole run by verl on this machine's CPU, small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kpo.config.experiment import Experiment, load_experiment
from kpo.config.policy import ScratchPolicy, Sft
from kpo.model.policy import save_model
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.base_policy import scratch_policy, sft

TASK: dict[str, Any] = {"train": 64, "test": 8, "slip": 0.0, "tiers": {"easy": [2, 2]}}


def on_the_cpu() -> list[str]:
    """Further settings of verl."""
    return [
        "trainer.device=cpu",
        "actor_rollout_ref.rollout.name=transformers",
        "actor_rollout_ref.model.external_lib=tests.integrations.verl.cpu_rollout",
        "actor_rollout_ref.model.use_remove_padding=false",
        "+actor_rollout_ref.model.override_config.attn_implementation=eager",
        "actor_rollout_ref.actor.use_torch_compile=false",
        "actor_rollout_ref.actor.fsdp_config.use_torch_compile=false",
        "actor_rollout_ref.rollout.agent.num_workers=1",
        "reward.num_workers=1",
        "data.dataloader_num_workers=0",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    ]


def make_base(path: Path) -> None:
    """A policy that has learnt most of the task, with the token that verl wants of a Qwen."""
    settings = ScratchPolicy(kind="scratch", layers=2, sft=Sft(steps=150))
    experiment = Experiment.model_validate(tree(path, 1))
    assert experiment.task is not None
    policy = scratch_policy(settings)
    sft(policy, settings.sft, experiment.task, PROTOCOLS["plain"])
    policy.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    policy.model.resize_token_embeddings(len(policy.tokenizer))
    save_model(policy.model, policy.tokenizer, path)


def tree(base: Path, ranks: int) -> dict[str, Any]:
    """An experiment whose batches are one mini-batch, seen twice."""
    return {
        "experiment": "by-verl",
        "seeds": [0],
        "prompt": "plain",
        "task": TASK,
        "policy": {"kind": "pretrained", "model": str(base)},
        "train": {
            "problems": "train",
            "engine": "verl",
            "verl": on_the_cpu(),
            "steps": 2,
            "prompts": 4,
            "mini_batches": 1,
            "passes": 2,
            "max_prompt_tokens": 24,
            "max_response_tokens": 40,
            "max_tokens_per_microbatch": 512,
            "lr": 1e-3,
            "warm_up": 0.0,
            "gpus": ranks,
        },
        "evaluate": {
            "benchmarks": ["easy"],
            "samples": 4,
            "max_response_tokens": 40,
            "engine": "transformers",
        },
        "methods": {
            "kpo": {
                "objective": "kpo",
                "label": "KPO",
                "q": 1e-2,
                "clip_low": None,
                "clip_high": None,
            }
        },
    }


def write_experiment(folder: Path, base: Path, ranks: int) -> Experiment:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree(base, ranks)))
    return load_experiment(path)
