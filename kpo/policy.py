"""The policy: a Hugging Face causal model, its tokenizer, and log-probs of responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kpo.files import sha256_file


@dataclass(frozen=True)
class Policy:
    """A causal language model with its tokenizer; `eos` are the ids that end a response."""

    model: Any
    tokenizer: Any
    eos: frozenset[int]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def pad(self) -> int:
        """Id that fills up rows; never seen by a token that counts."""
        return self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0


def pick_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_policy(
    path: Path, *, dtype: str = "float32", device: torch.device | None = None
) -> Policy:
    """Load a model folder in evaluation mode. Raises ValueError for a model that cannot serve."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - slow to import

    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(path)
    if getattr(model.config, "final_logit_softcapping", None):
        raise ValueError(f"{path}: models that cap their logits are not supported")
    model.to(device or pick_device()).eval()
    return Policy(model, tokenizer, eos_tokens(model, tokenizer, str(path)))


def eos_tokens(model: Any, tokenizer: Any, where: str) -> frozenset[int]:
    """Every id that ends a response, from the generation config and the tokenizer."""
    ids = model.generation_config.eos_token_id
    ids = [ids] if isinstance(ids, int) else list(ids or [])
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    if not ids:
        raise ValueError(f"{where}: neither the model nor its tokenizer names an end-of-text token")
    return frozenset(ids)


def save_policy(policy: Policy, path: Path) -> None:
    """Write model (safetensors) and tokenizer in Hugging Face format into a folder."""
    policy.model.save_pretrained(path)
    policy.tokenizer.save_pretrained(path)


def weights_hash(path: Path) -> str:
    """Hash over the safetensors files of a model folder."""
    return "+".join(sha256_file(file) for file in sorted(path.glob("*.safetensors")))


def pad_rows(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rows as int64 [B, T] padded on the right, and the mask [B, T] of what is real."""
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
    lengths = torch.tensor([len(row) for row in rows])
    return ids.to(device), (torch.arange(length)[None] < lengths[:, None]).to(device)


def response_logprobs(
    policy: Policy, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probs and entropies of response tokens under the policy, at temperature 1.

    Args:
        policy: the model; its current training mode and gradient mode are used.
        prompts: B token lists.
        responses: B token lists, each with at least one token.

    Returns: log pi(y_t | x, y_<t) [B, T] float32 in nats with gradient, the entropy of the
    distribution at each token [B, T] in nats without, and the mask [B, T]; T is the longest
    response. Padding stands on the right, where a causal model does not see it.
    """
    device = policy.device
    rows = [list(x) + list(y[:-1]) for x, y in zip(prompts, responses, strict=True)]
    ids, _ = pad_rows(rows, policy.pad, device)
    targets, mask = pad_rows(responses, policy.pad, device)
    first = torch.tensor([len(x) - 1 for x in prompts], device=device)
    hidden = policy.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
    # Only the positions that predict a response token reach the LM head.
    offsets = torch.arange(targets.shape[1], device=device)
    position = (first[:, None] + offsets).clamp(max=ids.shape[1] - 1)
    hidden = hidden.gather(1, position[:, :, None].expand(-1, -1, hidden.shape[-1]))
    logits = head(policy.model)(hidden).float()
    logprobs = torch.log_softmax(logits, dim=-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(2, targets[:, :, None]).squeeze(2), entropy, mask


def head(model: Any) -> nn.Module:
    """The LM head."""
    module: nn.Module = model.get_output_embeddings()
    return module
