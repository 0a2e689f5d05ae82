"""What kpo/integrations/README.md gives for verl's command line, composed and checked by verl."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from kpo.filtered_ratio import KPO

pytest.importorskip("verl", reason="verl's environment runs these: make test-integrations")
from hydra import compose, initialize_config_module
from verl.utils.config import omega_conf_to_dataclass, validate_config

from kpo.integrations.verl.policy_loss import objective_of
from tests.integrations.verl.actor import ask
from tests.kpo.cases import random_batch

README = Path(__file__).parents[3] / "kpo/integrations/README.md"
OF_ANY_RUN = [
    "algorithm.adv_estimator=grpo",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.actor.use_dynamic_bsz=true",
]


def test_the_readmes_lines_are_kpo() -> None:
    found = re.search(r"KPO is\n\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    lines = shlex.split(found[1].replace("\\\n", " "))
    assert len(lines) <= 5
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", [*OF_ANY_RUN, *lines])
    validate_config(config, use_reference_policy=False, use_critic=False)
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    loss = actor.policy_loss
    assert objective_of(loss.loss_mode, loss.settings) == KPO(q=1e-6)
    assert ask(actor, random_batch(0)).gradient.any()
