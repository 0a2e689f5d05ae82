"""The loss that prime-rl imports, on records with the fields of its LossInputs."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kpo.integrations.prime_rl import Outputs, loss
from kpo.objective import TokenBatch
from kpo.registry import make_objective

CLIPS = {"clip_low": 0.05, "clip_high": 0.05}
LENGTHS = (5, 2, 7)


@dataclass
class LossInputs:
    """prime-rl 0.8's, one sequence: prompt and response, every tensor [seq]."""

    trainer_logprobs: Tensor
    inference_logprobs: Tensor
    ref_logprobs: Tensor | None
    advantages: Tensor
    loss_mask: Tensor
    loss_weights: Tensor | None = None


def sequence(length: int, *, prompt: int = 3, advantage: float = 1.5) -> LossInputs:
    """A prompt whose places hold what is no log-prob, and a response that has moved a little."""
    generator = torch.Generator().manual_seed(length)
    old = -0.1 - torch.rand(prompt + length, generator=generator)
    new = old + 0.1 * torch.randn(prompt + length, generator=generator)
    mask = torch.arange(prompt + length) >= prompt
    advantages = torch.full_like(old, advantage).masked_fill(~mask, 9.0)
    return LossInputs(new.masked_fill(~mask, 5.0).requires_grad_(), old, None, advantages, mask)


def step() -> list[LossInputs]:
    return [sequence(T, advantage=A) for T, A in zip(LENGTHS, (1.0, -0.5, 0.7), strict=True)]


def joined(inputs: list[LossInputs]) -> TokenBatch:
    """The responses of a step as one batch of the suite's."""
    rows = [
        torch.nn.utils.rnn.pad_sequence([value[i.loss_mask] for i, value in pairs], True)
        for pairs in (
            [(i, i.trainer_logprobs) for i in inputs],
            [(i, i.inference_logprobs) for i in inputs],
            [(i, i.loss_mask) for i in inputs],
        )
    ]
    advantages = torch.stack([i.advantages[-1] for i in inputs])
    return TokenBatch(rows[0], rows[1], advantages, rows[2])


def gradient(value: Tensor, inputs: list[LossInputs]) -> list[Tensor]:
    return list(torch.autograd.grad(value, [i.trainer_logprobs for i in inputs]))


@pytest.mark.parametrize(
    ("name", "settings", "tokens_per_response"),
    [
        ("kpo", {"q": 1e-2, **CLIPS}, sum(LENGTHS) / 3),
        ("gspo", CLIPS, sum(LENGTHS) / 3),
        ("dr_grpo", {"length": 7}, sum(LENGTHS) / 3),
        ("dapo", {}, None),
        ("cispo", {}, None),
    ],
)
def test_a_step_is_the_objectives_mean(
    name: str, settings: dict[str, Any], tokens_per_response: float | None
) -> None:
    inputs = step()
    kwargs = {"objective": name, "tokens_per_response": tokens_per_response, **settings}
    outputs = [loss(sequence, **kwargs) for sequence in inputs]
    assert all(isinstance(output, Outputs) for output in outputs)
    assert all(value.ndim == 0 for output in outputs for value in output.metrics.values())
    total = torch.stack([output.loss for output in outputs]).sum() / sum(LENGTHS)
    expected = make_objective(name, **settings)(joined(inputs))
    mean = expected.loss / expected.count
    torch.testing.assert_close(total, mean)
    for found, wanted in zip(gradient(total, inputs), gradient(mean, inputs), strict=True):
        assert bool(wanted.any())
        torch.testing.assert_close(found, wanted)


def test_a_sequence_without_a_token_of_its_own_adds_nothing() -> None:
    inputs = sequence(4)
    inputs.loss_mask = torch.zeros_like(inputs.loss_mask)
    output = loss(inputs, objective="dapo")
    assert output.loss == 0
    assert output.metrics["clip_fraction"] == 0
    output.loss.backward()
    assert inputs.trainer_logprobs.grad is not None
    assert not inputs.trainer_logprobs.grad.any()


def test_weights_of_tokens_weigh_their_gradients() -> None:
    inputs = sequence(4)
    plain = gradient(loss(inputs, objective="dapo").loss, [inputs])[0]
    inputs.loss_weights = torch.linspace(0.0, 2.0, 7)
    weighted = gradient(loss(inputs, objective="dapo").loss, [inputs])[0]
    torch.testing.assert_close(weighted, plain * inputs.loss_weights)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"objective": "kpo", "q": 1e-6}, "no mean over tokens, by which prime-rl divides: give"),
        ({"objective": "gspo", "tokens_per_response": 0}, "give tokens_per_response"),
        ({"objective": "dapo", "tokens_per_response": 9.0}, "leave tokens_per_response out"),
        ({"objective": "kp0"}, "unknown objective 'kp0'"),
        ({"objective": "dapo", "q": 1.0}, "no setting 'q'"),
    ],
)
def test_settings_that_cannot_be_held_are_refused(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        loss(sequence(3), **kwargs)


def test_advantages_of_single_tokens_are_refused() -> None:
    inputs = sequence(3)
    inputs.advantages[-1] = 0.0
    with pytest.raises(ValueError, match="one advantage a response"):
        loss(inputs, objective="dapo")


def test_the_settings_of_the_readme_are_a_loss() -> None:
    """As prime-rl takes them: the function imported by its path, called with the settings."""
    page = (Path(__file__).parents[2] / "kpo/integrations/README.md").read_text()
    section = page.split("\n## prime-rl")[1].split("\n## ")[0]
    (written,) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    set_up = tomllib.loads(written)["trainer"]["loss"]
    assert set_up["type"] == "custom"
    module, _, function = set_up["import_path"].rpartition(".")
    output = getattr(import_module(module), function)(sequence(3), **set_up["kwargs"])
    assert output.loss.requires_grad
