"""SIGTERM at any moment of a step: little is lost, and the run ends as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kpo.distributed.ranks import ALONE, Ranks
from kpo.distributed.sharding import full, shard
from kpo.model.policy import response_logprobs
from kpo.rollout.engine import Response, Sampling
from kpo.rollout.transformers import TransformersEngine
from kpo.trainer import batch, step
from kpo.trainer.guards.preemption import PREEMPTED_EXIT_CODE
from kpo.trainer.loop import Trainer
from tests.kpo.models import tiny_policy
from tests.kpo.processes import SERVER, on_ranks
from tests.kpo.trainer.runs import EndlessEngine, reward, tiny_trainer
from tests.patience import until

SETTINGS: dict[str, Any] = {
    "steps": 2,
    "staleness": 1,
    "mini_batches": 2,
    "max_tokens_per_microbatch": 120,
    "checkpoint_every": 100,
}


class Moments:
    """Counts rollouts, rewards and micro-batches, and sends SIGTERM in the midst of the n-th."""

    def __init__(self, n: int | None = None) -> None:
        self.n, self.seen = n, list[str]()

    def passes(self, name: str) -> None:
        self.seen.append(name)
        if len(self.seen) == self.n:
            os.kill(os.getpid(), signal.SIGTERM)

    def watch(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **settings: Any) -> Any:
            self.passes(name)
            return function(*args, **settings)

        return watched


class WatchedEngine(TransformersEngine):
    moments: Moments

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        self.moments.passes("rollout")
        return super().generate(prompts, seeds, sampling)


def drawn(*args: Any, **settings: Any) -> tuple[Any, ...]:
    """Log-probs that depend on every global generator, as those of a model with noise would."""
    logprobs, *rest = response_logprobs(*args, **settings)
    noise = random.random() + float(np.random.random()) + float(torch.rand(()))
    return logprobs + 1e-3 * noise, *rest


def run(
    folder: Path, moments: Moments, ranks: Ranks = ALONE, logprobs: Callable[..., Any] = drawn
) -> int:
    """Train to the end or to SIGTERM: the exit code. At the end the weights are in a file."""
    engine = WatchedEngine(tiny_policy(seed=3))
    engine.moments = moments
    policy = shard(tiny_policy(seed=3), ranks, "float32") if ranks.size > 1 else engine.policy
    trainer = tiny_trainer(folder, policy=policy, engine=engine, ranks=ranks, **SETTINGS)
    trainer.reward = moments.watch("reward", reward)
    with pytest.MonkeyPatch.context() as patch:
        old = moments.watch("old log-probs", response_logprobs)
        patch.setattr(batch, "response_logprobs", old)
        patch.setattr(step, "response_logprobs", moments.watch("update", logprobs))
        code = exit_code(trainer)
    if trainer.ranks.is_main:
        trainer.log.__exit__(None, None, None)
    weights = [full(weight).clone() for weight in policy.model.parameters()]
    if code == 0 and trainer.ranks.is_main:
        torch.save(weights, folder / "end.pt")
    return code


def exit_code(trainer: Trainer) -> int:
    try:
        trainer.train()
    except SystemExit as left:
        assert isinstance(left.code, int)
        return left.code
    return 0


def end(folder: Path) -> tuple[bytes, list[torch.Tensor]]:
    return (folder / "metrics.jsonl").read_bytes(), torch.load(folder / "end.pt")


def assert_same_end(folder: Path, whole: Path) -> None:
    (metrics, weights), (expected, theirs) = end(folder), end(whole)
    assert metrics == expected
    assert all(torch.equal(a, b) for a, b in zip(weights, theirs, strict=True))


@pytest.mark.slow
def test_sigterm_at_any_moment(tmp_path: Path) -> None:
    whole = Moments()
    assert run(tmp_path / "whole", whole) == 0
    assert whole.seen.count("update") > 2 * 2 * 2 - 1  # mini-batches have several micro-batches
    for n in range(1, len(whole.seen)):
        folder, first, second = tmp_path / str(n), Moments(n), Moments()
        assert run(folder, first) == PREEMPTED_EXIT_CODE
        assert run(folder, second) == 0
        assert_same_end(folder, tmp_path / "whole")
        again = len(first.seen) + len(second.seen) - len(whole.seen)
        redone = second.seen[:again]
        assert redone.count("update") <= 2  # what one optimizer step had begun
        assert "update" not in redone or "rollout" not in redone


def test_notified_twice_and_resumed_in_the_midst_again(tmp_path: Path) -> None:
    whole = Moments()
    assert run(tmp_path / "whole", whole) == 0
    codes: list[int] = []
    while not codes or codes[-1] == PREEMPTED_EXIT_CODE:
        codes.append(run(tmp_path / "parts", Moments(7)))
    assert codes[-1] == 0
    assert len(codes) > 2
    assert_same_end(tmp_path / "parts", tmp_path / "whole")


def told(ranks: Ranks, folder: Path, who: int, n: int | None) -> int:
    torch.set_num_threads(1)
    return run(folder, Moments(n if ranks.rank == who else None), ranks)


@pytest.mark.slow
def test_ranks_stop_at_the_same_place(tmp_path: Path) -> None:
    assert on_ranks(2, told, tmp_path / "whole", 0, None) == [0, 0]
    for n, who in ((1, 0), (5, 1), (11, 1)):  # a rollout, old log-probs, an update
        folder = tmp_path / str(n)
        assert on_ranks(2, told, folder, who, n) == [PREEMPTED_EXIT_CODE] * 2
        assert on_ranks(2, told, folder, who, None) == [0, 0]
        assert_same_end(folder, tmp_path / "whole")


def endless(folder: Path) -> None:
    engine = EndlessEngine(tiny_policy(seed=3), folder / "endless", after=1)
    tiny_trainer(folder, policy=engine.policy, engine=engine, **SETTINGS).train()


@pytest.mark.slow
def test_a_phase_without_end_is_left_at_once(tmp_path: Path) -> None:
    process = SERVER.Process(target=endless, args=(tmp_path,))
    process.start()
    until((tmp_path / "endless").exists, process.is_alive)
    process.terminate()
    process.join()
    assert process.exitcode == PREEMPTED_EXIT_CODE
    assert list((tmp_path / "checkpoints").glob("step-000000"))
    run(tmp_path, second := Moments(), logprobs=response_logprobs)
    assert second.seen.count("rollout") == 1  # the first one was kept
    assert run(tmp_path / "whole", Moments(), logprobs=response_logprobs) == 0
    assert_same_end(tmp_path, tmp_path / "whole")
