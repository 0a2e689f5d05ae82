"""A rollout of verl on the CPU: transformers, a response at a time.

Its samples depend on weights, prompts and seed alone, not on which of several servers is asked.
Loaded by `actor_rollout_ref.model.external_lib`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import ray
import torch
from torch import Tensor
from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

NAME = "transformers"


class Count:
    """How often each prompt was asked about, by all servers together."""

    def __init__(self) -> None:
        self.asked: dict[Any, int] = {}

    def next(self, key: Any) -> int:
        self.asked[key] = self.asked.get(key, 0) + 1
        return self.asked[key]


class Server:
    """Samples from the weights that were last sent."""

    def __init__(self, path: str, longest: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()
        self.end = AutoTokenizer.from_pretrained(path).eos_token_id
        self.longest, self.steps = longest, 0
        self.count = ray.remote(Count).options(name="count", get_if_exists=True).remote()

    def load(self, weights: dict[str, Tensor], steps: int) -> None:
        self.model.load_state_dict(weights, strict=False)
        self.model.tie_weights()
        self.steps = steps

    @torch.no_grad()
    def generate(self, prompt_ids: list[int], **_: Any) -> TokenOutput:
        number = ray.get(self.count.next.remote((self.steps, tuple(prompt_ids))))
        text = f"{self.steps} {prompt_ids} {number}".encode()
        seed = int.from_bytes(hashlib.sha256(text).digest()[:6], "big")
        generator = torch.Generator().manual_seed(seed)
        ids, cache = torch.tensor([prompt_ids]), None
        tokens: list[int] = []
        logprobs: list[float] = []
        while len(tokens) < self.longest and self.end not in tokens:
            output = self.model(ids, past_key_values=cache, use_cache=True)
            values, cache = output.logits[0, -1].float().log_softmax(-1), output.past_key_values
            tokens.append(int(torch.multinomial(values.exp(), 1, generator=generator)))
            logprobs.append(float(values[tokens[-1]]))
            ids = torch.tensor([tokens[-1:]])
        return TokenOutput(
            token_ids=tokens,
            log_probs=logprobs,
            stop_reason="completed",
            extra_fields={"global_steps": self.steps},
        )

    def wake_up(self, **_: Any) -> None: ...

    def sleep(self) -> None: ...


class Replica(RolloutReplica):
    """A server of its own for each worker."""

    async def launch_servers(self) -> None:
        name = f"{NAME}_server_{self.replica_rank}"
        server = ray.remote(Server).options(name=name)
        self.servers = [server.remote(self.model_config.path, self.config.response_length)]
        self._server_handle, self._server_address = self.servers[0], name


class Adapter(base.BaseRollout):
    """A worker's side of it."""

    async def resume(self, tags: list[str]) -> None: ...

    async def release(self) -> None: ...

    async def update_weights(
        self, weights: Iterable[tuple[str, Tensor]], global_steps: int = 0, **_: Any
    ) -> None:
        found = {name: tensor.detach().cpu().clone() for name, tensor in weights}
        server = ray.get_actor(f"{NAME}_server_{torch.distributed.get_rank()}")
        await server.load.remote(found, global_steps or 0)


RolloutReplicaRegistry.register(NAME, lambda: Replica)
base._ROLLOUT_REGISTRY[NAME, "async"] = f"{__name__}.Adapter"
