"""Settings on their way to verl: each of them arrives, or is refused. Without verl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment
from kpo.config.file import ConfigError
from kpo.config.method import Method
from kpo.config.policy import PretrainedPolicy, ScratchPolicy
from kpo.config.train import Train
from kpo.integrations.verl.overrides import (
    Overrides,
    Place,
    arguments,
    further,
    overrides,
    value_text,
)
from tests.integrations.verl.written import TREE, experiment_of, small

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
ENVIRONMENT = "+ray_kwargs.ray_init.runtime_env.env_vars"
ARRIVES: dict[str, tuple[Any, Overrides]] = {
    "verl": (["trainer.nnodes=2"], {}),
    "steps": (7, {"trainer.total_training_steps": 7}),
    "prompts": (16, {"data.train_batch_size": 16, f"{ACTOR}.ppo_mini_batch_size": 8}),
    "group": (4, {f"{ROLLOUT}.n": 4}),
    "mini_batches": (4, {f"{ACTOR}.ppo_mini_batch_size": 2}),
    "passes": (3, {f"{ACTOR}.ppo_epochs": 3}),
    "max_tokens_per_microbatch": (512, {f"{ACTOR}.ppo_max_token_len_per_gpu": 512}),
    "max_prompt_tokens": (30, {"data.max_prompt_length": 30}),
    "max_response_tokens": (70, {"data.max_response_length": 70}),
    "lr": (3e-7, {f"{ACTOR}.optim.lr": 3e-7}),
    "betas": ((0.8, 0.95), {f"{ACTOR}.optim.betas": (0.8, 0.95)}),
    "weight_decay": (0.3, {f"{ACTOR}.optim.weight_decay": 0.3}),
    "warm_up": (
        0.5,
        {f"{ACTOR}.optim.lr_warmup_steps": 2, f"{ACTOR}.optim.zero_indexed_step": False},
    ),
    "final_lr": (0.25, {f"{ACTOR}.optim.min_lr_ratio": 0.25}),
    "clip_norm": (0.7, {f"{ACTOR}.optim.clip_grad": 0.7}),
    "dtype": (
        "bfloat16",
        {
            f"{ROLLOUT}.dtype": "bfloat16",
            f"+{ACTOR}.fsdp_config.mixed_precision.param_dtype": "bf16",
        },
    ),
    "activation_checkpointing": (
        True,
        {"actor_rollout_ref.model.enable_gradient_checkpointing": True},
    ),
    "deterministic": (True, {f"{ACTOR}.fsdp_config.full_determinism": True}),
    "gpus": (4, {"trainer.n_gpus_per_node": 4}),
    "threads": (3, {f"{ENVIRONMENT}.OMP_NUM_THREADS": "3"}),
    "checkpoint_every": (5, {"trainer.save_freq": 5}),
    "gpu_memory": (0.6, {f"{ROLLOUT}.gpu_memory_utilization": 0.6}),
    "tracker": (
        "wandb",
        {
            "trainer.logger": ["console", "file", "wandb"],
            f"{ENVIRONMENT}.WANDB_RUN_ID": "kpo-s3",
            f"{ENVIRONMENT}.WANDB_RESUME": "allow",
        },
    ),
}
"""Another value of each setting of training that verl has, and what verl is told of it."""
REFUSED: dict[str, Any] = {
    "staleness": 1,
    "truncated_importance": 2.0,
    "reward": "coin",
    "max_logprob_mismatch": 0.1,
    "stall_s": 60.0,
    "nodes": 2,
}
ELSEWHERE = {
    "problems": "which set train.parquet is of",
    "engine": "which trainer: the command is verl's whatever it says",
    "epochs": "test_epochs_are_steps",
    "temperature": "has one value",
    "top_p": "has one value",
    "top_k": "has one value",
    "ranks": "test_the_cpu_is_refused",
    "scoring_dtype": "test_the_trainer_may_compute_in_another_dtype",
}


def settings_of(experiment: Experiment, method: str = "kpo", problems: int = 64) -> dict[str, Any]:
    place = Place(Path("/base"), Path("/run/verl"), Path("/run/.checkpoints"), problems, False)
    return dict(overrides(experiment, method, 3, place))


def test_every_setting_of_training_is_named_here() -> None:
    assert {*ARRIVES, *REFUSED, *ELSEWHERE} == set(Train.model_fields)


def test_so_is_every_setting_of_a_method_and_of_a_policy() -> None:
    named = {"label", "role", "control", "family", "at"}  # in tables alone
    assert set(Method.model_fields) - named == {"objective", "train"}
    assert set(PretrainedPolicy.model_fields) == {
        *("kind", "model", "revision", "architecture", "wheel")  # test_writing.py
    }
    assert "sft" in ScratchPolicy.model_fields  # whose folder is all that verl can be given


@pytest.mark.parametrize("name", ARRIVES)
def test_a_setting_arrives(tmp_path: Path, name: str) -> None:
    value, told = ARRIVES[name]
    engine = {"engine": "verl"} if name == "verl" else {}
    usual, other = small(tmp_path), small(tmp_path, **engine, **{name: value})
    before, after = settings_of(usual), settings_of(other)
    changed = {key: after[key] for key in after if key not in before or before[key] != after[key]}
    assert told.items() <= after.items()
    assert changed.keys() <= told.keys() | {"trainer.total_epochs"}
    if name == "verl":
        assert further(other.train, after) == ["trainer.nnodes=2"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_verl_has_nothing_for_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"^train\.{name} \(.*verl"):
        settings_of(small(tmp_path, **{name: REFUSED[name]}))


@pytest.mark.parametrize("name", REFUSED)
def test_an_experiment_whose_engine_is_verl_says_so_when_it_is_read(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=rf"train: {name} \(.*verl"):
        small(tmp_path, engine="verl", **{name: REFUSED[name]})


@pytest.mark.parametrize("cpu", [{"gpus": 0}, {"gpus": 0, "ranks": 2}])
def test_the_cpu_is_refused(tmp_path: Path, cpu: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"gpus \(0\) must be at least 1 with verl"):
        settings_of(small(tmp_path, **cpu))


def test_epochs_are_steps(tmp_path: Path) -> None:
    found = settings_of(small(tmp_path, steps=None, epochs=3), problems=30)
    assert found["trainer.total_training_steps"] == 3 * 30 // 8
    assert found["trainer.total_epochs"] == 4  # of 3 steps each, as verl drops what is left
    with pytest.raises(UserError, match=r"train\.prompts \(8\) must be at most the 7 problems"):
        settings_of(small(tmp_path), problems=7)


def test_the_trainer_may_compute_in_another_dtype(tmp_path: Path) -> None:
    found = settings_of(small(tmp_path, dtype="bfloat16", scoring_dtype="float32"))
    assert found[f"{ROLLOUT}.dtype"] == "bfloat16"
    assert found[f"+{ACTOR}.fsdp_config.mixed_precision.param_dtype"] == "fp32"


def test_the_method_is_the_loss(tmp_path: Path) -> None:
    kpo, dr = (settings_of(small(tmp_path), name) for name in ("kpo", "dr"))
    loss = f"{ACTOR}.policy_loss"
    assert kpo[f"{loss}.loss_mode"] == "kpo_kpo"
    assert kpo[f"+{loss}.settings"] == {"q": 1e-6, "clip_low": 0.1}
    assert kpo[f"{ACTOR}.loss_agg_mode"] == "seq-mean-token-mean"
    assert kpo["algorithm.norm_adv_by_std_in_grpo"]
    assert dr[f"{ACTOR}.loss_agg_mode"] == "seq-mean-token-sum-norm"
    assert dr[f"{ACTOR}.loss_scale_factor"] == 80
    assert not dr["algorithm.norm_adv_by_std_in_grpo"]


def test_a_row_has_its_own_training_settings(tmp_path: Path) -> None:
    kpo = TREE["methods"]["kpo"] | {"train": {"lr": 0.5}}
    experiment = experiment_of(tmp_path, TREE | {"methods": {"kpo": kpo}})
    assert settings_of(experiment)[f"{ACTOR}.optim.lr"] == 0.5


def test_the_seed_is_everywhere(tmp_path: Path) -> None:
    found = settings_of(small(tmp_path))
    seeds = {key: value for key, value in found.items() if key.endswith("seed")}
    assert seeds == dict.fromkeys(seeds, 3) and len(seeds) == 4


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("actor_rollout_ref.actor.optim.lr=1", "actor_rollout_ref.actor.optim.lr"),
        ("+actor_rollout_ref.actor.policy_loss.settings.q=1", "settings follows"),
        ("~data", "data"),
    ],
)
def test_what_is_settled_cannot_be_said_otherwise(tmp_path: Path, text: str, key: str) -> None:
    experiment = small(tmp_path, engine="verl", verl=[text])
    with pytest.raises(UserError, match=rf"train\.verl holds .*{key}"):
        further(experiment.train, settings_of(experiment))


def test_further_settings_are_a_part_of_the_run_where_verl_is_its_engine(tmp_path: Path) -> None:
    usual = small(tmp_path)
    assert "verl" not in usual.section("train", "kpo")["train"]
    with pytest.raises(ConfigError, match="has no use without engine verl"):
        small(tmp_path, verl=["trainer.nnodes=2"])
    other = small(tmp_path, engine="verl", verl=["trainer.nnodes=2"])
    assert other.section("train", "kpo")["train"]["verl"] == ["trainer.nnodes=2"]


def test_text_is_quoted() -> None:
    values = {"a": "it's", "b": [None, True, 1e-6], "c": {"d": "null", "e": "/a/b-c.d"}, "f": "\\"}
    assert [*arguments(values)] == [
        r"a='it\'s'",
        "b=[null,true,1e-06]",
        "c={d:'null',e:/a/b-c.d}",
        r"f='\\'",
    ]
    assert value_text("3") == "'3'"
