"""Decoders with a cache against full forward passes of the Hugging Face model."""

from __future__ import annotations

import pytest
import torch

from kpo.model.decoder import FusedDecoder, ModelDecoder, make_decoder, read_prompts
from kpo.model.policy import Policy
from tests.kpo.models import FAMILIES, tiny_policy, unusual_policy

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [3, 4]]
EQUAL = [[5, 6, 7], [8, 9, 10]]
CPU = torch.device("cpu")


@pytest.mark.parametrize("family", FAMILIES)
def test_families_use_the_decoder_made_for_them(family: str) -> None:
    expected = FusedDecoder if family in FusedDecoder.FAMILY else ModelDecoder
    assert type(make_decoder(tiny_policy(family).model)) is expected


@torch.inference_mode()
def check(policy: Policy, prompts: list[list[int]]) -> None:
    """Compare logits after prompts and after each of 6 tokens with full forward passes."""
    model = policy.model
    decoder = make_decoder(model)
    rows = [list(prompt) for prompt in prompts]
    logits = read_prompts(decoder, prompts, 6, CPU)
    for step in range(6):
        for row, got in zip(rows, logits, strict=True):
            expected = model(torch.tensor([row])).logits[0, -1]
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)
        if step == 3:  # drop a row in the middle
            keep = torch.tensor([i for i in range(len(rows)) if i != 1])
            decoder.keep(keep)
            rows = [row for i, row in enumerate(rows) if i != 1]
        tokens = [20 + step + i for i in range(len(rows))]
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]
        logits = decoder.step(torch.tensor(tokens))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompts", [PROMPTS, EQUAL], ids=["ragged", "equal"])
def test_cached_logits_equal_a_full_forward_pass(family: str, prompts: list[list[int]]) -> None:
    check(tiny_policy(family), prompts)


@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied"])
@pytest.mark.parametrize("family", [*FusedDecoder.FAMILY, "mistral"])
def test_nothing_at_its_default(family: str, tied: bool) -> None:
    policy = unusual_policy(family, tied=tied)
    norms = {name: p for name, p in policy.model.named_parameters() if "q_norm" in name}
    assert (len(norms) > 0) == (family == "qwen3")
    check(policy, PROMPTS)


@pytest.mark.parametrize("tokens", [1, 11], ids=["a row", "two rows"])
@pytest.mark.parametrize("family", FusedDecoder.FAMILY)
def test_ragged_prompts_are_read_in_small_parts(
    family: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpo.model.decoder.PREFILL_TOKENS", tokens)
    check(unusual_policy(family), PROMPTS)
    check(unusual_policy(family), [PROMPTS[i] for i in (2, 0, 3, 1, 2)])
