"""A run: one method, one seed, from the base policy to the files that others read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from kpo.common.allocator import keep_freed_memory
from kpo.common.cli import warn
from kpo.common.files import put_in_place, write_jsonl, write_text
from kpo.common.manifest import Manifest, trainer_code
from kpo.common.seeding import ask_for_determinism
from kpo.config.experiment import Experiment, run_name
from kpo.config.train import Train
from kpo.distributed.ranks import Ranks, check_shared, join
from kpo.distributed.sharding import needs_sharding, save_sharded, shard
from kpo.evals.grading.grader import Grader
from kpo.model.loading import load_policy
from kpo.model.policy import Policy, recompute, weights_hash
from kpo.rollout.engine import RolloutEngine
from kpo.rollout.factory import make_engine
from kpo.tasks.prompts import FORCED_THINKING, PROTOCOLS
from kpo.trainer.guards.learning import record, stood_still
from kpo.trainer.log import RunLog
from kpo.trainer.loop import Trainer
from kpo.trainer.noise import noise_of
from kpo.trainer.prompts import load_prompts
from kpo.trainer.reward import reward_of
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.trackers import TRACKERS, Tracked, Unharmed
from kpo.trainer.training_set import TrainingSet, stated, training_set

UNFINISHED, CHECKPOINTS = "unfinished", ".checkpoints"
"""Within a run's folder: what it has written so far, for whoever watches, and what it goes on from.

Nothing reads a run from there, and its other files stay those of a finished run, or missing.
"""
GRADING_WORKERS = 2


def start(train: Train) -> Ranks:
    """Settle what holds for the whole process, then meet the other ranks."""
    torch.set_num_threads(train.threads)
    keep_freed_memory()
    if train.deterministic:
        ask_for_determinism()
    return join(gpus=train.gpus, ranks=train.ranks, nodes=train.nodes, stall_s=train.stall_s)


def load(train: Train, base: Path, ranks: Ranks) -> Policy:
    """The base policy, tried on its device, in main memory: the engine takes its memory first."""
    dtype = "auto" if needs_sharding(ranks.size, train.scoring) else "float32"  # shard widens it
    policy = load_policy(base, dtype=dtype, device=ranks.device, longest=train.longest)
    policy.model.to("cpu")
    torch.cuda.empty_cache()
    return policy


def prepare(train: Train, base: Path, policy: Policy, ranks: Ranks) -> tuple[Policy, RolloutEngine]:
    """The loaded policy as it is trained, and the engine that samples from it."""
    given = None if needs_sharding(ranks.size, train.dtype) else policy
    engine = make_engine(train, base, longest=train.longest, device=ranks.device, policy=given)
    policy = shard(policy, ranks, train.scoring)
    if train.activation_checkpointing:
        recompute(policy.model)
    return policy, engine


def grader_of(experiment: Experiment) -> Grader:
    """What says whether responses are right; a task's numbers need no worker that waits."""
    answers, limits = PROTOCOLS[experiment.prompt].answers, experiment.grading.model_dump()
    ready = int(experiment.task is None)
    return Grader(workers=GRADING_WORKERS, answers=answers, ready=ready, **limits)


def tracker_of(experiment: Experiment, method: str, seed: int, out: Path) -> Unharmed | None:
    """What is told of every step beside TensorBoard."""
    if (name := experiment.train.tracker) not in TRACKERS:
        return None
    settings = {**experiment.section("train", method), "seed": seed}
    told = Tracked(experiment.experiment, run_name(method, seed), method, settings, out)
    return Unharmed(name, told)


def run(
    experiment: Experiment, method: str, seed: int, base: Path, problems: Path | None, out: Path
) -> None:
    """Train and write the run's folder; its files appear when the run is complete.

    A run that was interrupted goes on from its newest checkpoint.
    """
    train, unfinished = experiment.train_of(method), out / UNFINISHED
    ranks = start(train)
    check_shared(out, ranks)
    settings = {**experiment.section("train", method), "seed": seed}
    manifest, code = Manifest(experiment.experiment, settings), trainer_code()
    policy = load(train, base, ranks)
    found = training_set(experiment, problems)
    config, tokenizer = policy.model.config, policy.tokenizer
    prompts, trained_on = load_prompts(experiment, config, tokenizer, found)
    protocol = PROTOCOLS[experiment.prompt]
    if ranks.is_main:
        sys.stderr.write(f"{stated(trained_on.record)}\n")
        if protocol.forces_thinking(policy.tokenizer):
            warn(FORCED_THINKING)
        shutil.rmtree(unfinished, ignore_errors=True)
    inputs = {
        "base": ranks.gather(weights_hash(base) if ranks.is_main else None)[0],
        "data": trained_on.record["problems_sha256"],
        "prompt": protocol.identity(policy.tokenizer, [prompt.tokens for prompt in prompts]),
    }
    policy, engine = prepare(train, base, policy, ranks)
    tracker = tracker_of(experiment, method, seed, out)
    with (
        grader_of(experiment) as grader,
        RunLog(unfinished if ranks.is_main else None, tracker) as log,
    ):
        Trainer(
            policy=policy,
            objective=experiment.methods[method].build(),
            engine=engine,
            reward=reward_of(experiment, seed, grader),
            prompts=prompts,
            config=train,
            seed=seed,
            log=log,
            checkpoints=Checkpoints(out / CHECKPOINTS, {**settings, "inputs": inputs}, ranks=ranks),
            ranks=ranks,
        ).train()
    save_sharded(policy, unfinished / "model", ranks, train.dtype)
    if ranks.is_main:
        manifest.content |= {"method": method, "seed": seed, **inputs, "code": code}
        manifest.content |= {"processes": ranks.size, "engine": engine.describe()}
        state(manifest, settings, trained_on, unfinished)
        finish(manifest, [metrics for _, metrics, _ in log.rows], base, out)


def state(
    manifest: Manifest, settings: Mapping[str, Any], trained_on: TrainingSet, unfinished: Path
) -> None:
    """Say under which settings a run was trained, and on what, in its manifest and its files."""
    shared = {part: value for part, value in settings.items() if part not in ("method", "seed")}
    manifest.content |= {"settings": shared, "training_set": trained_on.record}
    write_jsonl(unfinished / "dropped.jsonl", (drop.row() for drop in trained_on.drops))
    write_text(unfinished / "config.yaml", yaml.safe_dump(dict(settings), sort_keys=False))


def finish(manifest: Manifest, rows: Sequence[Mapping[str, float]], base: Path, out: Path) -> None:
    """Add what the run came to, a row of metrics a step, and give its files their names."""
    unfinished = out / UNFINISHED
    learning = record(rows, base, unfinished / "model")
    if sentence := stood_still(learning):
        warn(f"this run learnt nothing: {sentence}")
    weights = weights_hash(unfinished / "model")
    manifest.finish(
        unfinished / "manifest.json", weights=weights, learning=learning, noise=noise_of(rows)
    )
    move_into_place(unfinished, out)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def move_into_place(unfinished: Path, out: Path) -> None:
    """Move finished files to their declared names, the manifest last.

    An older manifest goes first, so that none ever stands beside another run's files; until the new
    one is there, the run is unfinished, and its checkpoints are still beside it.
    """
    (out / "manifest.json").unlink(missing_ok=True)
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == "manifest.json"):
        put_in_place(path, out / path.name)
    unfinished.rmdir()
