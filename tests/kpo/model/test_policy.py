"""The policy: log-probs against the plain way to compute them, and models on disk."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

from kpo.common.cli import UserError
from kpo.distributed.ranks import pick_device
from kpo.model.loading import load_policy
from kpo.model.packing import ATTENTION
from kpo.model.policy import Policy, load_tokenizer, response_logprobs, save_model, weights_hash
from tests.kpo.model.scored import (
    LENGTHS,
    PROMPTS,
    RESPONSES,
    plain_entropies,
    plain_logprobs,
    rows,
    scores,
)
from tests.kpo.models import FAMILIES, edit, tiny_policy

# Log-probs


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_and_entropies_are_those_of_the_full_logits(family: str) -> None:
    policy = tiny_policy(family)
    policy.model.set_attn_implementation("eager")  # its own
    expected, entropies = plain_logprobs(policy), plain_entropies(policy)
    policy.model.set_attn_implementation(ATTENTION)
    logprobs, entropy, mask = scores(policy)
    assert logprobs.shape == entropy.shape == mask.shape == (4, 9)
    assert logprobs.dtype == entropy.dtype == torch.float32
    assert mask.sum(1).tolist() == LENGTHS
    for found, wanted in zip(
        [*rows(logprobs, mask), *rows(entropy, mask)], [*expected, *entropies], strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)


def test_the_random_model_is_far_from_uniform() -> None:
    logprobs, entropy, mask = scores(tiny_policy())
    assert float(logprobs[mask].detach().std()) > 1
    assert float(entropy[mask].min()) < 3 < float(entropy[mask].max()) < 4.6


def weighted_gradients(policy: Policy, logprobs: list[Tensor]) -> list[Tensor]:
    """Gradient of a weighted sum in which every token has another weight."""
    weights = torch.linspace(-1, 1, sum(LENGTHS))
    loss = torch.cat(logprobs) @ weights
    return list(torch.autograd.grad(loss, list(policy.model.parameters())))


@pytest.mark.parametrize("family", ["qwen3", "mistral", "gemma2", "granite"])
def test_gradients_are_those_of_the_full_logits(family: str) -> None:
    policy = tiny_policy(family)
    logprobs, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    found = weighted_gradients(policy, rows(logprobs, mask))
    policy.model.set_attn_implementation("eager")
    expected = weighted_gradients(policy, plain_logprobs(policy))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("chunk", [1, 96, 250])
def test_the_lm_heads_chunks_do_not_matter(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy()
    expected, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    gradients = weighted_gradients(policy, rows(expected, mask))
    monkeypatch.setattr("kpo.model.head.CHUNK_LOGITS", chunk)
    found, _, _ = response_logprobs(policy, PROMPTS, RESPONSES)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    for a, b in zip(weighted_gradients(policy, rows(found, mask)), gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_entropies_are_asked_for_and_come_without_gradient() -> None:
    policy = tiny_policy()
    logprobs, nothing, _ = response_logprobs(policy, PROMPTS, RESPONSES)
    same, entropy, _ = scores(policy)
    assert nothing is None
    assert logprobs.requires_grad
    assert not entropy.requires_grad
    assert torch.equal(same, logprobs)


def test_neither_the_batch_nor_the_order_matters() -> None:
    policy = tiny_policy()
    whole, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    back, _, back_mask = response_logprobs(policy, PROMPTS[::-1], RESPONSES[::-1])
    for i, row in enumerate(rows(whole, mask)):
        alone, _, _ = response_logprobs(policy, PROMPTS[i : i + 1], RESPONSES[i : i + 1])
        torch.testing.assert_close(alone[0], row, rtol=0, atol=2e-5)
        torch.testing.assert_close(back[-1 - i][back_mask[-1 - i]], row, rtol=0, atol=2e-5)


def test_masked_places_are_zero() -> None:
    logprobs, entropy, mask = scores(tiny_policy())
    assert not bool(logprobs[~mask].any() | entropy[~mask].any())


def test_a_model_in_bfloat16_gives_float32() -> None:
    policy = tiny_policy()
    expected, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    policy.model.bfloat16()
    logprobs, entropy, _ = scores(policy)
    assert logprobs.dtype == entropy.dtype == torch.float32
    assert float((logprobs - expected)[mask].detach().abs().mean()) < 0.3


# Models on disk


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, folder)
    return folder


def test_a_saved_policy_is_read_back(saved: Path) -> None:
    policy = load_policy(saved)
    assert not policy.model.training
    assert policy.eos == {policy.tokenizer.eos_token_id}
    here, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    there, _, _ = response_logprobs(tiny_policy(), PROMPTS, RESPONSES)
    assert torch.equal(here[mask], there[mask])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_dtype_is_the_one_asked_for(saved: Path, dtype: str) -> None:
    assert {p.dtype for p in load_policy(saved, dtype=dtype).model.parameters()} == {
        getattr(torch, dtype)
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder that a test may spoil."""
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("in_generation", "eos"), [(None, {1}), (7, {1, 7}), ([7, 9], {1, 7, 9})])
def test_every_end_token_counts(model: Path, in_generation: Any, eos: set[int]) -> None:
    GenerationConfig(eos_token_id=in_generation).save_pretrained(model)
    assert load_tokenizer(model)[1] == eos


def test_a_model_without_an_end_token_is_refused(model: Path) -> None:
    edit(model / "config.json", eos_token_id=None)
    edit(model / "tokenizer_config.json", eos_token=None)
    edit(model / "generation_config.json", eos_token_id=None)
    with pytest.raises(ValueError, match=f"{model}: neither .* end-of-text token"):
        load_tokenizer(model)


def test_the_hash_is_of_the_weights_alone(model: Path, saved: Path, tmp_path: Path) -> None:
    assert weights_hash(model) == weights_hash(saved)
    (model / "notes.txt").touch()
    assert weights_hash(model) == weights_hash(saved)
    other = tiny_policy(seed=1)
    save_model(other.model, other.tokenizer, tmp_path / "other")
    assert weights_hash(tmp_path / "other") != weights_hash(saved)


def test_the_hash_is_of_every_file(tmp_path: Path) -> None:
    policy = tiny_policy()
    policy.model.save_pretrained(tmp_path, max_shard_size="20KB")
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 2
    before = weights_hash(tmp_path)
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert weights_hash(tmp_path) != before
        file.write_bytes(content)
    assert weights_hash(tmp_path) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    assert pick_device(0) == torch.device("cpu")
    with pytest.raises(UserError, match="asks for 1 GPU"):
        pick_device(1)


def test_the_policys_device_is_its_weights() -> None:
    policy = tiny_policy()
    assert policy.device == torch.device("cpu")
    assert replace(policy, model=policy.model.to("meta")).device == torch.device("meta")
