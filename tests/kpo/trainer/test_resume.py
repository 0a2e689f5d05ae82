"""Interrupted runs: whatever stops them, they end as if nothing had."""

import os
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kpo.common.values import read_values, write_values
from kpo.diagnostics import NOISE
from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import full, shard
from kpo.model.policy import Policy
from kpo.rollout.transformers import TransformersEngine
from kpo.trainer.batch import Rollouts
from kpo.trainer.guards.preemption import PREEMPTED_EXIT_CODE
from kpo.trainer.loop import Trainer
from kpo.trainer.state.progress import Position, restored
from tests.kpo.models import tiny_policy
from tests.kpo.processes import SERVER, dies_at, on_ranks
from tests.kpo.trainer.rollouts import rollouts
from tests.kpo.trainer.runs import tiny_trainer

SETTINGS: dict[str, Any] = {"steps": 20, "staleness": 2, "checkpoint_every": 1, "warm_up": 0.3}


def train(folder: Path) -> None:
    """A run to its end, from where it stands."""
    torch.set_num_threads(1)
    trainer = tiny_trainer(folder, **SETTINGS)
    trainer.train()
    trainer.log.__exit__(None, None, None)
    save_weights(trainer.policy, folder)


def save_weights(policy: Policy, folder: Path) -> None:
    weights = {name: full(p).contiguous() for name, p in policy.model.named_parameters()}
    save_file(weights, folder / "end.safetensors")


def finish(folder: Path) -> None:
    process = SERVER.Process(target=train, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    finish(folder)
    return folder


def assert_same_end(folder: Path, whole: Path) -> None:
    for name in ("metrics.jsonl", "end.safetensors"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_killed_at_random_moments_the_run_ends_the_same(whole: Path, tmp_path: Path) -> None:
    """Moments by what the run has done to its folders: no clock decides where it is killed."""
    rng = random.Random(0)
    kills = while_writing = 0
    while dies_at(rng.randrange(5, 40), train, tmp_path):
        kills += 1
        while_writing += bool(list((tmp_path / "checkpoints").glob("*.tmp")))
    assert kills >= 10
    assert 0 < while_writing < kills
    assert_same_end(tmp_path, whole)


class Interrupted(Trainer):
    """Its second rank receives SIGTERM in the third step."""

    def learn(self, at: Position) -> None:
        super().learn(at)
        if at.step == 3 and self.ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def sharded(ranks: Ranks, folder: Path, interrupt: bool) -> int | None:
    """Train to the end or the interruption; the exit code, and the weights in a file."""
    engine = TransformersEngine(tiny_policy(seed=3))
    policy = shard(tiny_policy(seed=3), ranks, "float32")
    made = tiny_trainer(folder, policy=policy, engine=engine, ranks=ranks, steps=5, staleness=1)
    fields = {name: getattr(made, name) for name in Trainer.__dataclass_fields__}
    trainer = Interrupted(**fields) if interrupt else made
    try:
        trainer.train()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else None
    weights = {name: full(p).contiguous() for name, p in policy.model.named_parameters()}
    if ranks.is_main:
        save_file(weights, folder / "end.safetensors")
    return 0


@pytest.mark.slow
def test_two_ranks_leave_together_and_go_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert on_ranks(2, sharded, whole, False) == [0, 0]
    assert on_ranks(2, sharded, parts, True) == [PREEMPTED_EXIT_CODE] * 2
    assert on_ranks(2, sharded, parts, False) == [0, 0]
    assert_same_end(parts, whole)


def test_waiting_rollouts_come_back_as_they_were(tmp_path: Path) -> None:
    noise = {name: 0.1 * i for i, name in enumerate(NOISE, 1)}
    made = replace(rollouts(tiny_policy()), noise=noise)
    made.responses[3] = replace(made.responses[3], finish="length")
    write_values(tmp_path / "waiting", [rollouts(tiny_policy()), made])
    _, second = read_values(tmp_path / "waiting")
    back = restored(second, torch.device("cpu"))
    for name in Rollouts.__dataclass_fields__:
        was, now = getattr(made, name), getattr(back, name)
        assert torch.equal(now, was) if isinstance(was, torch.Tensor) else now == was, name
