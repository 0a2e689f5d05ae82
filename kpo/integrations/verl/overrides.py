"""A run's settings as overrides of verl's configuration, the arguments of its `main_ppo`.

What they say of the run follows from the experiment file alone; how it is carried out, `free`, its
`train.verl` may say otherwise. Where verl has nothing for a setting, `Train.refused_by_verl` has a
sentence. What verl does in another way, and no setting can change, stands in
kpo/integrations/README.md.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError
from kpo.common.source_code import python_path
from kpo.config.experiment import Experiment, run_name
from kpo.config.method import Method
from kpo.config.train import Train
from kpo.integrations.verl.means import agg_mode
from kpo.objective import divides_by_std, mean_over
from kpo.tasks.prompts import PROTOCOLS

PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""The chat template of prompts that stand in none."""
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}

ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
VARIABLES = "+ray_kwargs.ray_init.runtime_env.env_vars"

Overrides = Mapping[str, Any]
"""Values by key; a key that verl's configuration does not have begins with "+"."""


@dataclass(frozen=True)
class Place:
    """Where the files of a run are; every path is absolute, and the same on all nodes.

    Attributes:
        model: folder of the base policy.
        folder: of the files for verl.
        checkpoints: of verl's own.
        problems: number of training problems.
        plain: whether prompts stand in no chat template.
    """

    model: Path
    folder: Path
    checkpoints: Path
    problems: int
    plain: bool

    @property
    def train(self) -> Path:
        """The training prompts."""
        return self.folder / "train.parquet"

    @property
    def val(self) -> Path:
        """The benchmarks' prompts, which verl loads, and looks at where `trainer.test_freq` is."""
        return self.folder / "val.parquet"

    @property
    def steps(self) -> Path:
        """What verl logs, a line a step."""
        return self.folder / "steps.jsonl"


def overrides(experiment: Experiment, method: str, seed: int, place: Place) -> dict[str, Any]:
    """All that verl must be told of a run but `train.verl`.

    Raises UserError for settings that verl has nothing for.
    """
    train = experiment.train_of(method)
    for fault in train.refused_by_verl():
        raise UserError(f"train.{fault}")
    if place.problems < train.prompts:
        raise UserError(
            f"train.prompts ({train.prompts}) must be at most the {place.problems} problems that"
            " are left to train on: verl takes all prompts of a step from one pass over them"
        )
    return {
        **free(train),
        **_data(train, seed, place),
        **_model(train, place),
        **_loss(experiment.methods[method]),
        **_actor(train, seed, train.total_steps(place.problems)),
        **_rollout(train, seed),
        **_reward(experiment),
        **_trainer(experiment, train, run_name(method, seed), place),
    }


def free(train: Train) -> Overrides:
    """How the run is carried out, as long as `train.verl` says nothing else."""
    return {
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.tensor_model_parallel_size": 1,
        f"{ROLLOUT}.gpu_memory_utilization": train.gpu_memory,
        "trainer.nnodes": 1,
    }


def further(train: Train, settled: Overrides) -> list[str]:
    """`train.verl`. Raises UserError for one of what the experiment file settles elsewhere."""
    taken = {key.lstrip("+") for key in settled} - free(train).keys()
    for text in train.verl:
        key = text.lstrip("+~").partition("=")[0]
        for other in sorted(taken):
            if f"{other}.".startswith(f"{key}.") or f"{key}.".startswith(f"{other}."):
                raise UserError(
                    f"train.verl holds {text!r}, but {other} follows from the experiment file's"
                    " other settings: change those"
                )
    return list(train.verl)


def arguments(settings: Overrides) -> Iterator[str]:
    """As they stand on a command line, in hydra's grammar."""
    return (f"{key}={value_text(value)}" for key, value in settings.items())


def value_text(value: Any) -> str:
    """A value in hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{value_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(value_text, value)) + "]"
    if not isinstance(value, str | Path):
        return json.dumps(value)
    text = str(value)
    if re.fullmatch(r"[A-Za-z_/][\w./-]*", text) and text.lower() not in _OTHERWISE:
        return text
    quoted = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text)
    return f"'{quoted}'"


_OTHERWISE = {"true", "false", "null", "nan", "inf"}
"""Words that hydra does not take for text."""


def _data(train: Train, seed: int, place: Place) -> Overrides:
    return {
        "data.train_files": [place.train],
        "data.val_files": [place.val],
        "data.train_batch_size": train.prompts,
        "data.max_prompt_length": train.max_prompt_tokens,
        "data.max_response_length": train.max_response_tokens,
        "data.filter_overlong_prompts": False,  # they are not in the files
        "data.truncation": "error",
        "data.shuffle": True,
        "data.seed": seed,
        "+data.apply_chat_template_kwargs.enable_thinking": False,
    }


def _model(train: Train, place: Place) -> Overrides:
    return {
        f"{MODEL}.path": place.model,
        f"{MODEL}.custom_chat_template": PLAIN if place.plain else None,
        f"{MODEL}.enable_gradient_checkpointing": train.activation_checkpointing,
    }


def _loss(method: Method) -> Overrides:
    """The objective, its advantages, and nothing beside it in what is minimised."""
    objective, loss = method.build(), f"{ACTOR}.policy_loss"
    over = mean_over(objective)
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": divides_by_std(objective),
        "algorithm.use_kl_in_reward": False,
        f"{ACTOR}.use_kl_loss": False,
        f"{ACTOR}.entropy_coeff": 0,
        f"{ACTOR}.loss_agg_mode": agg_mode(over),
        f"{ACTOR}.loss_scale_factor": over if isinstance(over, int) else None,
        f"{loss}._target_": "kpo.integrations.verl.PolicyLoss",
        f"{loss}.loss_mode": f"kpo_{method.objective}",
        f"+{loss}.settings": method.settings,
    }


def _actor(train: Train, seed: int, steps: int) -> Overrides:
    """The updates. verl's rate moves from step to step, not from update to update."""
    engine, optimizer = f"{ACTOR}.fsdp_config", f"{ACTOR}.optim"
    rise = round(train.warm_up * steps)
    precision = f"+{engine}.mixed_precision"
    return {
        f"{ACTOR}.strategy": "fsdp2",
        f"{ACTOR}.ppo_mini_batch_size": train.prompts // train.mini_batches,
        f"{ACTOR}.ppo_epochs": train.passes,
        f"{ACTOR}.shuffle": True,
        f"{ACTOR}.data_loader_seed": seed,
        f"{ACTOR}.use_dynamic_bsz": True,
        f"{ACTOR}.ppo_max_token_len_per_gpu": train.max_tokens_per_microbatch,
        f"{optimizer}.lr": train.lr,
        f"{optimizer}.betas": train.betas,
        f"{optimizer}.weight_decay": train.weight_decay,
        f"{optimizer}.clip_grad": train.clip_norm,
        # Ours: a rise from 1 / n in its first step. verl's constant schedule would begin at 0, and
        # its cosine does too unless its steps count from 1.
        f"{optimizer}.lr_scheduler_type": "cosine",
        f"{optimizer}.min_lr_ratio": train.final_lr,
        f"{optimizer}.lr_warmup_steps": rise,
        f"{optimizer}.zero_indexed_step": rise == 0,
        f"{engine}.model_dtype": "fp32",
        f"{precision}.param_dtype": PRECISIONS[train.scoring],
        f"{precision}.reduce_dtype": "fp32",
        f"{engine}.seed": seed,
        f"{engine}.full_determinism": train.deterministic,
        f"{ACTOR}.checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
    }


def _rollout(train: Train, seed: int) -> Overrides:
    return {
        f"{ROLLOUT}.n": train.group,
        f"{ROLLOUT}.temperature": train.temperature,
        f"{ROLLOUT}.top_p": train.top_p,
        f"{ROLLOUT}.top_k": train.top_k or -1,
        f"{ROLLOUT}.dtype": train.dtype,
        f"{ROLLOUT}.seed": seed,
        # Asked to be deterministic, verl gives all requests one seed, a group's responses too.
        f"{ROLLOUT}.full_determinism": False,
        f"{ROLLOUT}.calculate_log_probs": True,
        "algorithm.rollout_correction.rollout_is": None,
    }


def _reward(experiment: Experiment) -> Overrides:
    how = {
        "task": experiment.task and experiment.task.model_dump(mode="json"),
        "answers": PROTOCOLS[experiment.prompt].answers,
        "grading": experiment.grading.model_dump(mode="json"),
    }
    function = "reward.custom_reward_function"
    return {
        f"{function}.path": "pkg://kpo.integrations.verl.reward",
        f"{function}.name": "compute_score",
        f"+{function}.reward_kwargs.how": json.dumps(how),
        "reward.reward_manager.name": "naive",
    }


def _trainer(experiment: Experiment, train: Train, run: str, place: Place) -> Overrides:
    steps = train.total_steps(place.problems)
    of_trackers: dict[str, dict[str, str | Path]] = {
        "tensorboard": {"TENSORBOARD_DIR": place.folder / "tensorboard"},
        "wandb": {"WANDB_RUN_ID": run, "WANDB_RESUME": "allow"},
    }
    variables = {
        "PYTHONPATH": python_path(),
        "OMP_NUM_THREADS": str(train.threads),
        "VERL_FILE_LOGGER_PATH": place.steps,
        **of_trackers.get(train.tracker, {}),
    }
    return {
        "trainer.n_gpus_per_node": train.gpus,
        "trainer.total_training_steps": steps,
        "trainer.total_epochs": math.ceil(steps / (place.problems // train.prompts)),
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.save_freq": train.checkpoint_every,
        "trainer.max_actor_ckpt_to_keep": 2,
        "trainer.default_local_dir": place.checkpoints,
        "trainer.resume_mode": "auto",
        "trainer.project_name": f"kpo-{experiment.experiment}",
        "trainer.experiment_name": run,
        "trainer.logger": ["console", "file", train.tracker],
        **{f"{VARIABLES}.{name}": value for name, value in variables.items()},
        "hydra.run.dir": place.folder,
        "hydra.output_subdir": None,
    }
