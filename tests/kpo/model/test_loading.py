"""What is computed from a model is its own forward pass, or it is refused with the figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from kpo.model import packing
from kpo.model.decoder import FusedDecoder
from kpo.model.files import ModelError
from kpo.model.loading import check_agreement, draw, excess, load_policy, own_logprobs
from kpo.model.packing import ATTENTION
from kpo.model.policy import Policy, save_model
from kpo.tasks.tokenizer import character_tokenizer
from tests.kpo.models import FAMILIES, SHAPE, tiny_policy

FIGURE = r"differ from the model's own by [\d.e+-]+ nats in the mean and [\d.e+-]+ at most"


def longest_drawn(policy: Policy, longest: int | None = None) -> int:
    return max(len(x) + len(y) for x, y in draw(policy, longest))


def with_rope(family: str, **rope: Any) -> Policy:
    """A model with other rotary positions."""
    policy = tiny_policy(family)
    config = policy.model.config
    config.rope_parameters = {**config.rope_parameters, **rope}
    torch.manual_seed(0)
    return Policy(type(policy.model)(config), policy.tokenizer, policy.eos)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_supported_families_pass(family: str, dtype: str) -> None:
    policy = tiny_policy(family)
    policy.model.to(getattr(torch, dtype))
    check_agreement(policy)


def test_the_check_leaves_nothing_behind() -> None:
    policy = tiny_policy()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    check_agreement(policy)
    assert torch.equal(torch.get_rng_state(), before)
    assert policy.model.config._attn_implementation == ATTENTION
    assert all(p.grad is None and p.requires_grad for p in policy.model.parameters())


# Models that are computed wrongly


@pytest.mark.parametrize("family", ["mistral", "gemma2", "mixtral"])
def test_a_window_that_packing_ignores(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(family)
    policy.model.config.sliding_window = 6
    plain = packing.Scores
    monkeypatch.setattr(packing, "Scores", lambda scale, window, cap: plain(scale, None, cap))
    with pytest.raises(ModelError, match=f"{family}: packed log-probs {FIGURE}"):
        check_agreement(policy)
    if family != "mixtral":  # random experts are noisier than half precision
        policy.model.bfloat16()
        with pytest.raises(ModelError, match=FIGURE):
            check_agreement(policy)


@pytest.mark.parametrize("window", [60, 100])
def test_a_window_longer_than_the_usual_sequences(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tiny_policy("mistral")
    policy.model.config.sliding_window = window
    check_agreement(policy)
    plain = packing.Scores
    monkeypatch.setattr(packing, "Scores", lambda scale, window, cap: plain(scale, None, cap))
    check_agreement(policy, longest=window)  # no token is ever beyond it
    with pytest.raises(ModelError, match=FIGURE):
        check_agreement(policy, longest=window + 12)


def test_soft_capped_scores_that_packing_ignores(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = packing.Scores
    monkeypatch.setattr(packing, "Scores", lambda scale, window, cap: plain(scale, window))
    with pytest.raises(ModelError, match=FIGURE):
        check_agreement(tiny_policy("gemma2"))


def test_positions_that_follow_from_the_batch() -> None:
    """With longrope, one long sequence changes the angles of all that are packed beside it."""
    factors = {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    longrope = {"rope_type": "longrope", "original_max_position_embeddings": 50, **factors}
    policy = with_rope("llama", **longrope)
    check_agreement(policy, longest=50)
    with pytest.raises(ModelError, match=FIGURE):
        check_agreement(policy, longest=128)


@pytest.mark.parametrize("rope", ["dynamic", "linear", "yarn"])
def test_other_positions_are_right_up_to_the_models_length(rope: str) -> None:
    policy = with_rope("llama", rope_type=rope, factor=2.0)
    assert FusedDecoder.supports(policy.model.config, torch.float32) == (rope != "dynamic")
    check_agreement(policy)


def test_another_activation_is_none_for_the_fused_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy("llama")
    policy.model.config.hidden_act = "gelu"
    policy = Policy(type(policy.model)(policy.model.config), policy.tokenizer, policy.eos)
    check_agreement(policy)
    monkeypatch.setattr(FusedDecoder, "supports", lambda *_: True)
    with pytest.raises(ModelError, match=f"llama: the decoder's log-probs {FIGURE}"):
        check_agreement(policy)


@pytest.mark.parametrize(
    ("config_class", "model_class", "extra"),
    [
        (RecurrentGemmaConfig, RecurrentGemmaForCausalLM, {"attention_window_size": 64}),
        (GptOssConfig, GptOssForCausalLM, {"num_local_experts": 2, "num_experts_per_tok": 1}),
    ],
    ids=["recurrent", "sinks"],
)
def test_a_state_that_runs_on_and_attention_of_another_kind(
    config_class: Any, model_class: Any, extra: dict[str, Any]
) -> None:
    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    shape = {**SHAPE, "vocab_size": len(tokenizer), "num_key_value_heads": 2, "head_dim": 8}
    model = model_class(config_class(**shape, pad_token_id=0, **extra))
    for name, parameter in model.named_parameters():
        if name.endswith(("sinks", "bias")):
            torch.nn.init.normal_(parameter)
    with pytest.raises(ModelError, match=FIGURE):
        check_agreement(Policy(model, tokenizer, frozenset([1])))


def test_a_configuration_that_says_what_the_code_does_not() -> None:
    policy = tiny_policy()
    policy.model.config.final_logit_softcapping = 3.0
    with pytest.raises(ModelError, match=f"qwen3: packed log-probs {FIGURE}"):
        check_agreement(Policy(policy.model, policy.tokenizer, policy.eos))


def test_weights_that_are_not_finite() -> None:
    policy = tiny_policy()
    torch.nn.init.constant_(policy.model.model.norm.weight, torch.nan)
    with pytest.raises(ModelError, match="own log-probs are not finite"):
        check_agreement(policy)


def test_a_model_that_fails_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("sizes\n  do not fit")

    monkeypatch.setattr("kpo.model.loading.response_logprobs", fail)
    with pytest.raises(ModelError, match=r"qwen3, .*, has no packed log-probs: sizes do not fit"):
        check_agreement(tiny_policy())


# The sequences


def test_sequences_are_unequal_share_a_prompt_and_fit() -> None:
    policy = tiny_policy()
    pairs = draw(policy, None)
    assert pairs == draw(policy, None)
    lengths = [len(x) + len(y) for x, y in pairs]
    assert len(set(lengths)) == len(lengths) == 4
    assert pairs[0][0] == pairs[1][0]
    assert longest_drawn(policy, 10) == 10
    assert all(x and y for x, y in draw(policy, 2))


def test_a_sequence_is_longer_than_what_the_configuration_names() -> None:
    policy = tiny_policy()
    usual = longest_drawn(policy)
    policy.model.config.some_window_size = 90
    assert longest_drawn(policy) == 102
    assert longest_drawn(policy, 95) == 95
    assert longest_drawn(policy, 90) == usual
    policy.model.config.some_window_size = 8
    assert longest_drawn(policy) == usual


def test_the_long_sequence_needs_no_square_of_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy("mistral")
    prompt, response = draw(policy, None)[1]
    expected = own_logprobs(policy.model, prompt, response)
    monkeypatch.setattr("kpo.model.loading.EAGER_TOKENS", 0)
    found = own_logprobs(policy.model, prompt, response)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_bounds_are_of_the_mean_and_of_the_largest() -> None:
    few = torch.zeros(1000)
    assert not excess(few, 1e-4)
    few[0] = 0.005
    assert not excess(few, 1e-4)
    few[0] = 0.02
    assert excess(few, 1e-4)
    assert excess(torch.full((10,), 2e-4), 1e-4)
    assert excess(torch.tensor([torch.nan]), 1e-4)


# At load


def test_loading_refuses_and_names_the_folder(tmp_path: Path) -> None:
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, tmp_path)
    load_policy(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "logit_scale": 0.5}))
    with pytest.raises(ModelError, match=rf"{tmp_path}: qwen3: .* {FIGURE}"):
        load_policy(tmp_path)
