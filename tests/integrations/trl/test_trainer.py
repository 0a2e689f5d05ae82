"""KPOTrainer takes the steps that the suite's objectives mean, and where TRL has them, TRL's."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed: make test-integrations")

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kpo.common.plugins import offered
from kpo.integrations.trl import KPOTrainer
from kpo.model.policy import response_logprobs
from kpo.objective import TokenBatch
from kpo.registry import make_objective
from tests.integrations.trl import tiny

CLIPS = {"clip_low": 0.02, "clip_high": 0.03}
OURS: dict[str, tuple[Any, dict[str, Any]]] = {
    "kpo": (make_objective("kpo", q=1e-2, **CLIPS), {}),
    "gspo": (make_objective("gspo", **CLIPS), {}),
    "gmpo": (make_objective("gmpo", **CLIPS), {}),
    "tokens": (make_objective("dapo"), {"loss_type": "dapo"}),
    "length": (
        make_objective("dr_grpo", length=7),
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
    ),
    "truncated": (make_objective("kpo", q=1e-2), {"mask_truncated_completions": True}),
}


def own(values: Tensor, mask: Tensor) -> list[Tensor]:
    """The unmasked values of each row."""
    return [row[kept.bool()] for row, kept in zip(values, mask, strict=True)]


def whole_step(update: tiny.Update, policy: Any) -> TokenBatch:
    """All micro-batches of a step as one batch, scored by the suite's own policy."""
    parts = update.inputs
    rows = [row for i in parts for row in own(i["completion_ids"], i["completion_mask"])]
    kept = [i for i, row in enumerate(rows) if len(row)]
    prompts = [row for i in parts for row in own(i["prompt_ids"], i["prompt_mask"])]
    old = [row for i in parts for row in own(i["old_per_token_logps"], i["completion_mask"])]
    logprobs, _, mask = response_logprobs(
        policy, [prompts[i].tolist() for i in kept], [rows[i].tolist() for i in kept]
    )
    return TokenBatch(
        logprobs=logprobs,
        old_logprobs=pad_sequence([old[i] for i in kept], batch_first=True),
        advantages=torch.cat([i["advantages"] for i in parts])[kept],
        mask=mask,
    )


@pytest.mark.parametrize("name", OURS)
def test_its_loss_and_its_steps_are_ours(name: str, tmp_path: Path) -> None:
    objective, changes = OURS[name]
    trainer = tiny.trained(tiny.config(tmp_path, **changes), objective)
    after = [update.weights for update in trainer.updates[1:]] + [tiny.weights(trainer)]
    assert len(trainer.updates) == 3
    tokens = [sum(int(i["completion_mask"].sum()) for i in u.inputs) for u in trainer.updates]
    assert len(set(tokens)) > 1
    for update, moved in zip(trainer.updates, after, strict=True):
        policy = tiny.policy(update.weights)
        output = objective(whole_step(update, policy))
        loss = output.loss / output.count
        assert sum(update.losses) == pytest.approx(loss.item(), abs=1e-5)
        loss.backward()
        for key, parameter in policy.model.named_parameters():
            assert parameter.grad is not None
            step = (update.weights[key] - moved[key]) / tiny.LR
            torch.testing.assert_close(step, parameter.grad, rtol=1e-4, atol=2e-5)
    clipped = [log["clip_fraction"] for log in trainer.state.log_history if "clip_fraction" in log]
    assert len(clipped) == 3
    assert clipped[0] == 0  # the first update of a generation is one of the weights that sampled it
    assert all(i["old_per_token_logps"] is not None for u in trainer.updates for i in u.inputs)


NO_STD = {"loss_type": "dr_grpo", "scale_rewards": "none"}
# TRL divides by the tokens of an average update of a generation: here there is one.
WHOLE = {"loss_type": "dapo", "steps_per_generation": 2, "num_iterations": 2}
ALIKE: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "grpo": (make_objective("grpo"), {}, {}),
    "sapo": (make_objective("sapo"), {}, {"loss_type": "sapo"}),
    "gspo": (
        make_objective("gspo", clip_low=0.2, clip_high=0.2),
        {},
        {"importance_sampling_level": "sequence"},
    ),
    "dapo": (make_objective("dapo", clip_high=0.2), WHOLE, {}),
    "dr_grpo": (make_objective("dr_grpo", length=12), NO_STD, {}),
}
"""Objective, settings of both sides, and those by which TRL is asked for the same."""


@pytest.mark.parametrize("name", ALIKE)
def test_what_both_define_alike_ends_at_the_same_weights(name: str, tmp_path: Path) -> None:
    objective, both, asked = ALIKE[name]
    far = {"learning_rate": 0.1, **both}
    theirs = tiny.trained_by_trl(tiny.config(tmp_path, **far, **asked))
    ours = tiny.weights(tiny.trained(tiny.config(tmp_path, **far), objective))
    start = tiny.policy().model.state_dict()
    assert max(float((ours[key] - start[key]).abs().max()) for key in start) > 0.02
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-6)


def test_a_named_objective_is_built_with_its_settings(tmp_path: Path) -> None:
    arguments = tiny.arguments(tiny.config(tmp_path))
    trainer = KPOTrainer(**arguments, objective="kpo", settings={"memory": 50})
    assert trainer.objective == make_objective("kpo", memory=50)


STRANGER = """
from dataclasses import dataclass
from kpo import ObjectiveOutput, TokenBatch, clipped_surrogate, token_log_ratio

@dataclass(frozen=True, kw_only=True)
class Scaled:
    by: float

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        return clipped_surrogate(batch, self.by * token_log_ratio(batch), None, None)
"""


@pytest.fixture
def _stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that offers an objective by an entry point."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    about = tmp_path / "stranger-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[kpo.objectives]\nscaled = stranger:Scaled\n")
    monkeypatch.syspath_prepend(tmp_path)
    offered.cache_clear()
    yield
    offered.cache_clear()


@pytest.mark.usefixtures("_stranger")
def test_an_objective_of_another_package_is_trained_on_by_its_name(tmp_path: Path) -> None:
    args = tiny.config(tmp_path / "run")
    trainer = tiny.trained(args, "scaled", settings={"by": 1.0})
    ours = tiny.trained(args, make_objective("grpo", clip_low=0.99, clip_high=1e9))
    for key, value in tiny.weights(ours).items():
        torch.testing.assert_close(tiny.weights(trainer)[key], value)


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trainer after an update, and the first micro-batch of the next."""
    args = tiny.config(tmp_path_factory.mktemp("run"), max_steps=1)
    objective, _ = OURS["kpo"]
    trainer = tiny.trained(args, objective)
    return trainer, trainer._buffered_inputs[2]


def loss_of(trainer: Any, inputs: dict[str, Any]) -> float:
    """The loss of a micro-batch that is the first of its update."""
    return float(KPOTrainer._compute_loss(trainer, trainer.model, inputs).detach())


def test_tokens_of_a_tool_are_read_and_not_trained_on(
    stepped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, inputs = stepped
    tool = torch.ones_like(inputs["completion_mask"])
    tool[:, 1] = 0
    changed = {**inputs, "tool_mask": tool}
    monkeypatch.setattr(trainer, "_buffered_inputs", [None, None, changed, changed])
    before = loss_of(trainer, changed)
    assert before != loss_of(trainer, inputs)
    unread = {**changed, "old_per_token_logps": inputs["old_per_token_logps"].clone()}
    unread["old_per_token_logps"][:, 1] += 5
    assert loss_of(trainer, unread) == before


def test_a_weight_of_a_response_scales_its_advantage(stepped: Any) -> None:
    trainer, inputs = stepped
    weight = torch.tensor([[0.0], [0.5], [2.0], [1.0]])
    scaled = {**inputs, "advantages": inputs["advantages"] * weight[:, 0]}
    weighted = {**inputs, "importance_sampling_ratio": weight}
    assert loss_of(trainer, weighted) == loss_of(trainer, scaled) != loss_of(trainer, inputs)


def test_what_a_model_reads_besides_tokens_is_handed_on(
    stepped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, inputs = stepped
    asked: dict[str, Any] = {}

    def score(
        model: Any,
        input_ids: Any,
        attention_mask: Any,
        logits_to_keep: int,
        compute_entropy: bool = False,
        pixel_values: Any = None,
    ) -> tuple[Any, Any, None]:
        asked["pixels"] = pixel_values
        logprobs = inputs["old_per_token_logps"].clone().requires_grad_()
        return logprobs, logprobs.detach(), None

    monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", score)
    loss_of(trainer, {**inputs, "pixel_values": "a picture"})
    assert asked == {"pixels": "a picture"}


def test_two_ranks_that_see_the_same_take_the_step_of_one(
    stepped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, inputs = stepped
    alone = loss_of(trainer, inputs)
    two = copy.copy(trainer.accelerator)
    monkeypatch.setattr(type(two), "num_processes", 2)
    monkeypatch.setattr(two, "reduce", lambda own: 2 * own)
    monkeypatch.setattr(trainer, "accelerator", two)
    assert loss_of(trainer, inputs) == pytest.approx(alone)  # gradients are averaged over ranks


def test_evaluation_divides_by_its_own_batch(stepped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, inputs = stepped
    monkeypatch.setattr(trainer, "_buffered_inputs", None)
    trainer.model.eval()
    half = {key: value[:2] if value.ndim else value for key, value in inputs.items()}
    parts = [half, {key: value[2:] if value.ndim else value for key, value in inputs.items()}]
    losses = [loss_of(trainer, part) for part in parts]
    assert sum(losses) / 2 == pytest.approx(loss_of(trainer, inputs), rel=1e-5)
    trainer.model.train()
