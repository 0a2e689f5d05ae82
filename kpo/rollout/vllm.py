"""Rollouts from vLLM, in this process, with weights swapped in place.

While several ranks train, each has an engine of its own, which holds the whole model and
samples the rank's share of the prompts; only weights cross ranks, when they are synced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from kpo.distributed.sharding import gathered_weights
from kpo.model.policy import Policy, load_tokenizer
from kpo.rollout.engine import NEUTRAL, Finished, Response, RolloutEngine, Sampling

# vLLM reads these when it is imported. One process: weights can be handed over in memory. Several
# GPUs have a worker process each, started anew: this one may have touched CUDA, and no fork may.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; the GPU build ignores it
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # threads as OMP_NUM_THREADS says
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

import torch
import torch.distributed as dist
import vllm
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind

MAX_RUNNING = 256
"""Responses that vLLM samples at a time."""


class VLLMEngine(RolloutEngine):
    """A vLLM engine for one architecture; nothing is taken from the model's generation config.

    The model's Hugging Face folder has its architecture and first weights; synced ones of another
    dtype are cast. `max_tokens` is the longest prompt plus response, `tensor_parallel` the GPUs
    that the model lies over. `gpu_memory` is the share of each GPU's memory for weights and cache,
    by default vLLM's; it decides how many requests run at a time, not what is sampled, and
    `describe` leaves it out. An engine that shall `sleep` starts asleep and holds that memory from
    `sync_weights` to `sleep`; on the CPU, whose vLLM cannot, nothing changes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_tokens: int,
        dtype: str = "float32",
        tensor_parallel: int = 1,
        gpu_memory: float | None = None,
        sleep: bool = False,
    ) -> None:
        self.stop = sorted(load_tokenizer(folder)[1])
        self.sleeps = sleep and current_platform.is_sleep_mode_available()
        self.settings: dict[str, Any] = {
            "dtype": dtype,
            "max_model_len": max_tokens,
            "max_num_batched_tokens": max(max_tokens, 8192),
            "max_num_seqs": MAX_RUNNING,
            "enforce_eager": current_platform.is_cpu(),  # elsewhere CUDA graphs
            # The CPU build cannot seed a prompt that is read in chunks.
            "enable_chunked_prefill": not current_platform.is_cpu(),
            "enable_prefix_caching": True,  # a group reads its prompt once
            "generation_config": "vllm",
            "logprobs_mode": "processed_logprobs",
            "tensor_parallel_size": tensor_parallel,
            "seed": 0,
        }
        resources: dict[str, Any] = {"enable_sleep_mode": self.sleeps}
        if gpu_memory is not None:
            resources["gpu_memory_utilization"] = gpu_memory
        if dist.is_initialized() and dist.get_world_size() > 1:  # join the ranks that there are
            resources["distributed_executor_backend"] = "external_launcher"
        if current_platform.is_cpu():  # or the first log-probs wait for a compiler
            torch.compiler.set_stance("force_eager")
        self.llm = vllm.LLM(model=str(folder), **self.settings, **resources)
        self.numbers = count()
        self.arrived: dict[str, Any] = {}  # finished requests that their stream has not taken yet
        self.sleep()

    def describe(self) -> dict[str, Any]:
        """See `RolloutEngine`."""
        return {"name": "vllm", "version": vllm.__version__, **self.settings}

    def sync_weights(self, policy: Policy) -> None:
        """See `RolloutEngine`.

        vLLM takes the weights from the iterator one by one and keeps no more of them than the parts
        of one fused layer, and embeddings that it pads. They come before the cache does, which may
        then take what the gathering has freed; prefixes cached under other weights are forgotten.
        """
        if self.sleeps:
            torch.cuda.empty_cache()  # what training has freed, but its allocator still holds
            self.llm.wake_up(tags=["weights"])
        weights = gathered_weights(policy.model)
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        self.llm.apply_model(_process_heads)
        if self.sleeps:
            self.llm.wake_up(tags=["kv_cache"])
        self.llm.reset_prefix_cache()

    def sleep(self) -> None:
        """See `RolloutEngine`."""
        if self.sleeps:
            self.llm.sleep(level=2)  # discards weights and cache; level 1 would keep a copy

    def stream(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[Finished]:
        """See `RolloutEngine`: requests go in as others finish, so that none waits for the slowest.

        Some wait in vLLM too: between two steps of this stream another one may be answered.
        """
        coming = iter(enumerate(zip(prompts, seeds, strict=True)))
        most = max(4 * MAX_RUNNING // sampling.samples, 1)
        places: dict[str, int] = {}  # of the requests that are in the engine
        try:
            while True:
                for i, (prompt, seed) in islice(coming, most - len(places)):
                    places[self._request(prompt, seed, sampling)] = i
                if not places:
                    return
                if not self.arrived.keys() & places:
                    outputs = self.llm.llm_engine.step()
                    self.arrived.update((o.request_id, o) for o in outputs if o.finished)
                done = [(id_, self.arrived.pop(id_)) for id_ in [*places] if id_ in self.arrived]
                if done:
                    yield [(places.pop(id_), [*map(_response, o.outputs)]) for id_, o in done]
        finally:
            self.llm.llm_engine.abort_request(list(places))
            for id_ in places:
                self.arrived.pop(id_, None)

    def _request(self, prompt: Sequence[int], seed: int, sampling: Sampling) -> str:
        """Hand a prompt to vLLM; the request's id."""
        id_ = str(next(self.numbers))
        params = vllm.SamplingParams(
            n=sampling.samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            **NEUTRAL,
            max_tokens=sampling.max_tokens,
            seed=seed,
            stop_token_ids=self.stop,
            logprobs=0 if sampling.logprobs else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self.llm.llm_engine.add_request(id_, {"prompt_token_ids": list(prompt)}, params)
        return id_


def _process_heads(model: torch.nn.Module) -> None:
    """Make anew what the LM head holds beside its weights, as its class does after a first load.

    A reload does so for layers whose weights it was given. A head tied to the embedding is none of
    them, and vLLM's CPU build computes with a packed copy.
    """
    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


def _response(sample: Any) -> Response:
    tokens = list(sample.token_ids)
    steps = zip(sample.logprobs or [], tokens, strict=sample.logprobs is not None)
    logprobs = [step[token].logprob for step, token in steps]
    return Response(tokens, logprobs, "stop" if sample.finish_reason == "stop" else "length")
