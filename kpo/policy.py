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


def pick_device(gpus: int) -> torch.device:
    """The GPU that the experiment asks for, or the CPU. Raises RuntimeError if there is none."""
    if gpus and not torch.cuda.is_available():
        raise RuntimeError(f"the experiment asks for {gpus} GPU, but torch sees none")
    return torch.device("cuda" if gpus else "cpu")


def load_policy(path: Path, *, dtype: str = "float32", gpus: int = 0) -> Policy:
    """Load a model folder in evaluation mode. Raises ValueError for a model that cannot serve."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import

    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    if getattr(model.config, "final_logit_softcapping", None):
        raise ValueError(f"{path}: models that cap their logits are not supported")
    model.to(pick_device(gpus)).eval()
    return Policy(model, *load_tokenizer(path))


def load_tokenizer(path: Path) -> tuple[Any, frozenset[int]]:
    """The tokenizer of a model folder, and every token id that ends a response.

    Raises ValueError if neither the model's configuration nor the tokenizer names such a token.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(path)
    configs = [AutoConfig.from_pretrained(path)]
    if (path / "generation_config.json").is_file():
        configs.append(GenerationConfig.from_pretrained(path))
    ids = {tokenizer.eos_token_id}
    for config in configs:
        named = config.eos_token_id
        ids.update(named if isinstance(named, list) else [named])
    eos = frozenset(i for i in ids if i is not None)
    if not eos:
        raise ValueError(f"{path}: neither the model nor its tokenizer names an end-of-text token")
    return tokenizer, eos


def save_model(model: Any, tokenizer: Any, path: Path) -> None:
    """Write model (safetensors) and tokenizer in Hugging Face format into a folder."""
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


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
