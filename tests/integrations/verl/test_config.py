"""Command lines of verl, the README's and those that are written, composed and checked by verl."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kpo.filtered_ratio import KPO

pytest.importorskip("verl", reason="verl's environment runs these: make test-integrations")
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.config import omega_conf_to_dataclass, validate_config

from kpo.integrations.verl.policy_loss import objective_of
from kpo.integrations.verl.writing import write
from tests.integrations.verl.actor import ask
from tests.integrations.verl.written import (
    CONFIGS,
    Tree,
    arguments_of,
    base_folder,
    experiment_of,
    problems_folder,
    small,
    written,
)
from tests.kpo.cases import random_batch

README = Path(__file__).parents[3] / "kpo/integrations/README.md"
OF_ANY_RUN = [
    "algorithm.adv_estimator=grpo",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.actor.use_dynamic_bsz=true",
]


def composed(lines: Sequence[str]) -> Any:
    """verl's configuration, checked by verl."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", [line for line in lines if not line.startswith("hydra.")])
    validate_config(config, use_reference_policy=False, use_critic=False)
    return config


def test_the_readmes_lines_are_kpo() -> None:
    found = re.search(r"KPO is\n\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    lines = shlex.split(found[1].replace("\\\n", " "))
    assert len(lines) <= 5
    actor = omega_conf_to_dataclass(composed([*OF_ANY_RUN, *lines]).actor_rollout_ref.actor)
    loss = actor.policy_loss
    assert objective_of(loss.loss_mode, loss.settings) == KPO(q=1e-6)
    assert ask(actor, random_batch(0)).gradient.any()


def test_a_written_run_is_what_its_experiment_says(tmp_path: Path) -> None:
    found = written(tmp_path, small(tmp_path, engine="verl", verl=["reward.num_workers=2"]))
    config = composed(arguments_of(found.script))
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    loss, engine = actor.policy_loss, actor.engine
    assert objective_of(loss.loss_mode, loss.settings) == KPO(q=1e-6, clip_low=0.1)
    assert engine.mixed_precision["param_dtype"] == "fp32"
    assert (actor.ppo_mini_batch_size, actor.ppo_epochs, actor.rollout_n) == (4, 1, 8)
    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    assert (rollout.prompt_length, rollout.response_length) == (24, 80)
    model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    problem = [{"role": "user", "content": "1+1=?\n"}]
    ids = model.tokenizer.apply_chat_template(problem, add_generation_prompt=True)["input_ids"]
    assert model.tokenizer.decode(ids) == "1+1=?\n"
    reward = get_custom_reward_fn(config)
    answers = {"data_source": "train", "ground_truth": "7", "extra_info": {}}
    assert [reward(solution_str=f"\\boxed{{{n}}}", **answers) for n in (7, 8)] == [1, 0]
    assert config.reward.num_workers == 2
    variables = config.ray_kwargs.ray_init.runtime_env.env_vars
    assert str(found.place.steps) == variables.VERL_FILE_LOGGER_PATH
    assert all(isinstance(value, str) for value in variables.values())


def test_the_papers_run_is_accepted(tmp_path: Path) -> None:
    benchmarks = ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench")
    problems = problems_folder(tmp_path / "data", "dapo-math-17k", *benchmarks)
    tree: Tree = {
        "extends": str(CONFIGS / "paper.yaml"),
        "policy": {"model": "a/model", "revision": None, "architecture": None},
        "data": {"train_folder": str(problems), "benchmarks_folder": str(problems)},
    }
    found = write(
        experiment_of(tmp_path, tree),
        "kpo-clipped",
        0,
        base=base_folder(tmp_path / "base"),
        problems=None,
        out=tmp_path / "run",
    )
    config = composed(arguments_of(found.script))
    assert found.steps == 2 * 40 // 32
    ours = {
        "data.train_batch_size": 32,
        "data.max_prompt_length": 1024,
        "data.max_response_length": 4096,
        "actor_rollout_ref.rollout.n": 8,
        "actor_rollout_ref.actor.ppo_mini_batch_size": 8,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 20480,
        "actor_rollout_ref.actor.optim.lr": 1e-6,
        "actor_rollout_ref.actor.optim.weight_decay": 0.1,
        "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype": "bf16",
        "actor_rollout_ref.model.enable_gradient_checkpointing": True,
        "trainer.n_gpus_per_node": 2,
        "trainer.total_training_steps": 2,
        "trainer.project_name": "kpo-paper",
        "trainer.experiment_name": "kpo-clipped-s0",
    }
    assert {key: OmegaConf.select(config, key) for key in ours} == ours
