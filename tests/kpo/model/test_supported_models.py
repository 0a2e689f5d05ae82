"""All causal language models of transformers that can be built small: computed rightly, or refused.

Those that are right are the list in kpo/model/supported_models.txt, which this writes:

    python -m tests.kpo.model.test_supported_models > kpo/model/supported_models.txt
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from kpo.model.files import ModelError
from kpo.model.loading import check_agreement
from kpo.model.policy import Policy, recompute, response_logprobs
from kpo.planning.memory import size_of
from kpo.planning.passes import measure
from kpo.tasks.tokenizer import character_tokenizer
from tests.kpo.model.scored import PROMPTS, RESPONSES
from tests.kpo.small_models import KINDS, small_model

LIST = Path(__file__).parents[3] / "kpo/model/supported_models.txt"
NAMED = {"gemma2", "gemma3_text", "granite", "llama", "mistral", "mixtral", "olmo2", "phi3"}
NAMED |= {"qwen2", "qwen3", "qwen3_moe", "smollm3"}


def gradients(policy: Policy) -> list[torch.Tensor | None]:
    logprobs, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    return list(torch.autograd.grad(logprobs[mask].sum(), weights, allow_unused=True))


def check(model: Any) -> None:
    """Everything that a run does with a model. Raises ModelError where it is refused."""
    policy = Policy(model, character_tokenizer(), frozenset([1]))
    check_agreement(policy)
    assert size_of(model.config).parameters == sum(p.numel() for p in model.parameters())
    lengths = [(3, 9), (5, 4)]
    measure(model.config, lengths, layers=1, checkpointing=True)
    kept = gradients(policy)
    recompute(model)
    for one, two in zip(kept, gradients(policy), strict=True):
        assert (one is None) == (two is None)
        if one is not None and two is not None:
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def sweep() -> dict[str, str]:
    """What becomes of each kind of model: `right`, or how it is refused, fails or is not built."""
    found = {}
    for kind in KINDS:
        try:
            model = small_model(kind)
        except Exception as error:  # each has its own way to be impossible
            found[kind] = f"not built: {error}"
            continue
        try:
            check(model)
            found[kind] = "right"
        except ModelError as error:
            found[kind] = f"refused: {error}"
        except Exception as error:  # accepted, and then not even computed
            found[kind] = f"fails: {error!r}"
    return found


def supported(found: dict[str, str]) -> list[str]:
    return [kind for kind, what in found.items() if what == "right"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_list_is_that_of_the_models_that_are_right() -> None:
    found = sweep()
    assert not [f"{kind} {what}" for kind, what in found.items() if what.startswith("fails")]
    assert supported(found) == LIST.read_text().split()
    assert set(supported(found)) >= NAMED
    refused = sum(what.startswith("refused") for what in found.values())
    assert refused + len(supported(found)) > 0.6 * len(KINDS)  # most can be built


def test_the_list_names_what_the_readme_promises() -> None:
    assert set(LIST.read_text().split()) >= NAMED


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    result = sweep()
    sys.stdout.write("".join(f"{kind}\n" for kind in supported(result)))
    others = [f"{kind}: {what[:150]}\n" for kind, what in result.items() if what != "right"]
    sys.stderr.write("".join(others))
