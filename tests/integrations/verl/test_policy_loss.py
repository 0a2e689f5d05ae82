"""The adapter: what it divides by, what it widens, what it refuses, how verl finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.objective import mean_over
from kpo.registry import OBJECTIVES
from tests.kpo.cases import IDS, METHODS, Method, loss_and_gradient, one_response, random_batch

pytest.importorskip("verl", reason="verl's environment runs these: make test-integrations")
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import FSDPActorConfig, PolicyLossConfig

from kpo.integrations.verl import PolicyLoss
from tests.integrations.verl.actor import actor, ask, in_parts, of_ours

REPO = Path(__file__).parents[3]
MEANS = {"responses": "seq-mean-token-mean", "tokens": "token-mean"}


def configured(method: Method) -> FSDPActorConfig:
    over = mean_over(method.build())
    mean = MEANS.get(str(over), "seq-mean-token-sum-norm")
    scale = over if isinstance(over, int) else None
    return of_ours(f"kpo_{method.name}", mean, scale, **method.settings)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_micro_batches_and_ranks_change_nothing(method: Method) -> None:
    batch = random_batch(4)
    rows, order = len(batch.mask), torch.randperm(54, generator=torch.Generator().manual_seed(0))
    assert rows == len(order)
    shuffled = order.tolist()
    ranks = [[shuffled[:20], shuffled[20:27]], [shuffled[27:30], shuffled[30:31], shuffled[31:]]]
    objective = method.build()
    output, gradient = loss_and_gradient(objective, batch)
    over = mean_over(objective)
    size = (
        int(batch.mask.sum()) if over == "tokens" else rows * (over if isinstance(over, int) else 1)
    )
    answer = in_parts(configured(method), batch, ranks)
    torch.testing.assert_close(answer.loss, output.loss / size)
    torch.testing.assert_close(answer.gradient, gradient[batch.mask] / size)


def test_half_precision_is_widened() -> None:
    batch = random_batch(5, dtype=torch.bfloat16)  # of numbers that half precision holds
    config = of_ours("kpo_kpo", MEANS["responses"], q=1e-2)
    with pytest.warns(UserWarning, match="widened to float32"):
        half = ask(config, batch, dtype=torch.bfloat16)
    wide = ask(config, batch, dtype=torch.float32)
    assert half.loss.dtype == torch.float32
    assert float(half.loss) == float(wide.loss)
    assert half.gradient.dtype == torch.bfloat16
    torch.testing.assert_close(half.gradient, wide.gradient.bfloat16(), rtol=0, atol=0)


def test_metrics_are_numbers_of_the_micro_batch() -> None:
    batch = one_response([0.5, 0.1, -0.3], 1.0)
    metrics = ask(of_ours("kpo_grpo", MEANS["responses"]), batch).metrics
    assert metrics == pytest.approx({"actor/ppo_kl": -0.1, "actor/clip_fraction": 1 / 3})
    assert all(type(value) is float for value in metrics.values())


def test_every_objective_is_registered() -> None:
    assert {f"kpo_{name}" for name in OBJECTIVES} <= set(POLICY_LOSS_REGISTRY)


def test_settings_come_from_the_actors_own_file() -> None:
    loss = {
        "_target_": "kpo.integrations.verl.PolicyLoss",
        "loss_mode": "kpo_kpo",
        "settings": {"memory": 12, "start": "diffuse"},
    }
    made = omega_conf_to_dataclass(
        OmegaConf.create(
            {
                "_target_": "verl.workers.config.FSDPActorConfig",
                "rollout_n": 1,
                "use_dynamic_bsz": True,
                "loss_agg_mode": MEANS["responses"],
                "policy_loss": loss,
            }
        )
    )
    assert isinstance(made.policy_loss, PolicyLoss)
    batch = random_batch(6)
    same = of_ours("kpo_kpo", MEANS["responses"], memory=12, start="diffuse")
    torch.testing.assert_close(ask(made, batch)[:2], ask(same, batch)[:2])


@pytest.mark.parametrize(
    ("mode", "settings", "said"),
    [
        ("vanilla", {}, "policy_loss.loss_mode is 'vanilla'; there is kpo_kpo, kpo_grpo, "),
        ("kpo_kpo", {}, "PolicyLoss: objective kpo: give exactly one of q and memory"),
        ("kpo_kpo", {"q": -1.0}, "q = Q/V must be a finite number above 0"),
        ("kpo_gspo", {"q": 1e-6}, "objective gspo: no setting 'q'; there is clip_low, clip_high"),
    ],
)
def test_a_wrong_setting_is_refused_before_work_starts(
    mode: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match="policy_loss") as refused:
        PolicyLoss(loss_mode=mode, settings=settings)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("mode", "actors", "said"),
    [
        ("kpo_gspo", {}, "loss_agg_mode is 'token-mean', but kpo_gspo is a mean of its own"),
        ("kpo_gspo", {"loss_agg_mode": "seq-mean-token-sum"}, "set it to 'seq-mean-token-mean'"),
        ("kpo_dapo", {"loss_agg_mode": "seq-mean-token-mean"}, "set it to 'token-mean'"),
        ("kpo_dapo", {"clip_ratio_high": 0.28}, "actor.clip_ratio_high is 0.28, but kpo_dapo does"),
        ("kpo_cispo", {"clip_ratio_c": 10.0}, "leave it at 3.0"),
        ("kpo_dapo", {"tau_pos": 2.0}, "actor.tau_pos is 2.0"),
    ],
)
def test_an_actor_that_means_another_loss_is_refused(
    mode: str, actors: dict[str, Any], said: str
) -> None:
    config = actor(PolicyLoss(loss_mode=mode), **actors)
    with pytest.raises(ValueError) as refused:
        ask(config, random_batch(0))
    assert said in str(refused.value)


@pytest.mark.parametrize("scale", [None, 20])
def test_a_constant_length_is_the_objectives(scale: int | None) -> None:
    config = of_ours("kpo_dr_grpo", "seq-mean-token-sum-norm", scale, length=40)
    with pytest.raises(ValueError, match=f"loss_scale_factor is {scale}, .* set it to 40"):
        ask(config, random_batch(0))


def test_the_objective_without_its_settings_class_says_how() -> None:
    config = actor(PolicyLossConfig(loss_mode="kpo_kpo"), loss_agg_mode=MEANS["responses"])
    with pytest.raises(
        ValueError, match=r"policy_loss._target_ is kpo.integrations.verl.PolicyLoss"
    ):
        ask(config, random_batch(0))


def test_numbers_of_single_tokens_are_refused() -> None:
    config = of_ours("kpo_kpo", MEANS["responses"], q=1e-6)
    batch = random_batch(0)
    loss = POLICY_LOSS_REGISTRY["kpo_kpo"]
    A = batch.advantages[:, None] * batch.mask
    given = {
        "old_log_prob": batch.old_logprobs,
        "log_prob": batch.logprobs,
        "response_mask": batch.mask,
        "loss_agg_mode": MEANS["responses"],
        "config": config,
    }
    with pytest.raises(ValueError, match=r"^advantages differ .* set algorithm.adv_estimator=grpo"):
        loss(advantages=A + torch.rand(A.shape), **given)
    with pytest.raises(ValueError, match=r"^rollout_is_weights differ .*rollout_is=sequence"):
        loss(advantages=A, rollout_is_weights=torch.rand(A.shape), **given)


def test_ranks_need_the_whole_size() -> None:
    config = of_ours("kpo_kpo", MEANS["responses"], q=1e-6)
    with pytest.raises(ValueError, match="gives no global_batch_size, without which 2 ranks"):
        ask(config, random_batch(0), {"dp_size": 2})


@pytest.mark.slow
def test_verl_loads_it_by_name_with_objectives_of_other_packages(tmp_path: Path) -> None:
    package = tmp_path / "tempered-0.3.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: tempered\nVersion: 0.3\n")
    (package / "entry_points.txt").write_text(
        "[kpo.objectives]\ntempered = kpo.baselines.grpo:GRPO\nbroken = no_such_module:Loss\n"
    )
    code = """
import verl
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
print(*[name for name in POLICY_LOSS_REGISTRY if name.startswith("kpo_")])
from kpo.integrations.verl import PolicyLoss
print(PolicyLoss(loss_mode="kpo_tempered", settings={"clip_low": 0.1}).settings)
"""
    environment = {
        **os.environ,
        "VERL_USE_EXTERNAL_MODULES": "kpo.integrations.verl",
        "PYTHONPATH": f"{tmp_path}:{REPO}",
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    registered, settings = run.stdout.splitlines()
    assert registered.split() == [f"kpo_{name}" for name in [*OBJECTIVES, "broken", "tempered"]]
    assert settings == "{'clip_low': 0.1}"
    assert "kpo.integrations.verl: policy losses kpo_kpo, kpo_grpo," in run.stderr
