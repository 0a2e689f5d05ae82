"""What KPOTrainer cannot hold is refused before a model is loaded, with what mends it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed: make test-integrations")

from trl import GRPOConfig

from kpo.integrations.trl import KPOTrainer
from kpo.registry import make_objective
from tests.integrations.trl import tiny
from tests.kpo.models import tiny_policy

KPO = make_objective("kpo", q=1e-6)
DR_GRPO = make_objective("dr_grpo", length=12)
VLLM = {"use_vllm": True, "vllm_importance_sampling_mode": "token_truncate"}
REFUSED: dict[str, tuple[dict[str, Any], Any, str]] = {
    "on policy": (
        {"steps_per_generation": 2},
        KPO,
        "TRL hands over no old log-probs, and all ratios are 1; set steps_per_generation=8",
    ),
    "no multiple": (
        {"steps_per_generation": 3, "gradient_accumulation_steps": 2, "num_generations": 2},
        KPO,
        "steps_per_generation is 3, but must be a multiple of gradient_accumulation_steps, 2",
    ),
    "a step of two generations": (
        {"steps_per_generation": 2, "gradient_accumulation_steps": 4, "num_iterations": 3},
        KPO,
        "steps_per_generation is 2, but must be a multiple",
    ),
    "another mean": ({"loss_type": "dapo"}, KPO, "loss_type is 'dapo', but KPO wants"),
    "a mean over tokens": ({}, make_objective("cispo"), "CISPO wants loss_type='dapo'"),
    "a constant length": ({"scale_rewards": "none"}, DR_GRPO, "DrGRPO wants loss_type='dr_grpo'"),
    "undivided": ({"scale_rewards": False}, KPO, "scale_rewards is 'none', but KPO wants"),
    "by the batch": ({"scale_rewards": "batch"}, KPO, "KPO wants scale_rewards='group'"),
    "divided": ({"loss_type": "dr_grpo"}, DR_GRPO, "DrGRPO wants scale_rewards='none'"),
    "token weights": (VLLM, KPO, "choose 'sequence_mask' or 'sequence_truncate'"),
    "settings of an object": ({}, KPO, "settings are those of an objective that is given by name"),
    "unknown": ({}, "kp0", "unknown objective 'kp0'"),
    "broken": ({}, lambda batch: None, "returns a NoneType|must return an ObjectiveOutput"),
}
OWN = {
    "beta": 0.04,
    "entropy_coef": 0.01,
    "use_adaptive_entropy": True,
    "top_entropy_quantile": 0.2,
    "off_policy_mask_threshold": 0.5,
    "multi_objective_aggregation": "normalize_then_sum",
    "epsilon": 3e-4,
    "epsilon_high": 4e-4,
    "delta": 2.0,
    "importance_sampling_level": "sequence",
    "sapo_temperature_neg": 2.0,
    "sapo_temperature_pos": 2.0,
    "vespo_k_pos": 1.0,
    "vespo_lambda_pos": 1.0,
    "vespo_k_neg": 1.0,
    "vespo_lambda_neg": 1.0,
}


def refused(args: GRPOConfig, objective: Any, **settings: Any) -> str:
    """What it says; the model would be looked for in vain."""
    with pytest.raises(ValueError, match=r"\w+") as error:
        KPOTrainer("no/such-model", tiny.reward, args, objective=objective, **settings)
    return str(error.value)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_held(name: str, tmp_path: Path) -> None:
    changes, objective, said = REFUSED[name]
    settings = {"settings": {"q": 1.0}} if name == "settings of an object" else {}
    found = refused(tiny.config(tmp_path, **changes), objective, **settings)
    assert any(part in found for part in said.split("|")), found


@pytest.mark.parametrize("name", OWN)
def test_what_trl_has_of_its_own(name: str, tmp_path: Path) -> None:
    args = tiny.config(tmp_path, **{name: OWN[name]})
    found = refused(args, KPO)
    assert found.startswith(f"KPOTrainer: {name} is {OWN[name]!r}, but must stay ")


def test_trls_defaults(tmp_path: Path) -> None:
    usual = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    assert "set steps_per_generation=" in refused(usual, KPO)


def test_half_precision_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="set bf16=False and fp16=False"):
        KPOTrainer(**tiny.arguments(tiny.config(tmp_path, bf16=True)), objective=KPO)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        KPOTrainer(**tiny.arguments(tiny.config(tmp_path)), objective=KPO)


def test_the_mend_mends(tmp_path: Path) -> None:
    trainer = KPOTrainer(
        **tiny.arguments(tiny.config(tmp_path, steps_per_generation=8)), objective=KPO
    )
    assert trainer.args.steps_per_generation == 8
    KPOTrainer(
        **tiny.arguments(tiny.config(tmp_path, steps_per_generation=2, num_iterations=2)),
        objective=KPO,
    )


def test_a_loss_of_the_router(tmp_path: Path) -> None:
    made = tiny_policy("mixtral")
    made.model.config.output_router_logits = True
    arguments = tiny.arguments(tiny.config(tmp_path), model=made.model)
    with pytest.raises(ValueError, match=r"set router_aux_loss_coef=0\.0"):
        KPOTrainer(**arguments, objective=KPO)
