"""TRL's GRPOTrainer as one side of `bench_trainer`, run in TRL's own environment.

    python -m tests.bench.trl_side FOLDER WORKLOAD

Reads the policy and the other side's check step from FOLDER, trains on the same responses once,
writes its own check there, then takes one whole training step for every line on standard input.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import grpo_trainer

from tests.bench.trainer_workloads import (
    NEVER,
    WORKLOADS,
    Answers,
    Check,
    Workload,
    parity,
    truncated,
)

STEPS = 1000
"""More than are ever asked for."""


class Scheduled(StoppingCriteria):
    """Ends each response at its own length."""

    def __init__(self, prompt: int, lengths: Sequence[int]) -> None:
        self.ends = prompt + torch.tensor(lengths)

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.Tensor:
        return self.ends <= input_ids.shape[1]


class TimedTrainer(GRPOTrainer):
    """GRPOTrainer with scheduled lengths, clocks on its phases, and a first step on given data."""

    def prepare(self, work: Workload, check: Check) -> None:
        """Before training: the workload, and the step that the other side took."""
        self.work, self.given, self.number = work, check, 0
        self.seconds: dict[str, float] = defaultdict(float)
        self.losses: list[float] = []
        self.logprobs: list[list[float]] = []
        self.prompts: list[list[int]] = []
        self.eos_token_ids = [NEVER]
        self.generation_config.eos_token_id = [NEVER]
        self.shuffled = grpo_trainer.shuffle_sequence_dict
        grpo_trainer.shuffle_sequence_dict = self._shuffle

    def _shuffle(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Random, but for the first step."""
        if self.number:
            return self.shuffled(batch)
        rows = self.given.order
        assert all(isinstance(v, torch.Tensor) for v in batch.values() if v is not None)
        return {k: v[rows] if v is not None and v.ndim else v for k, v in batch.items()}

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any
    ) -> tuple[list[list[int]], None]:
        if not self.number:
            self.prompts = prompt_ids[:: self.work.group]
            return self.given.responses, None
        lengths = self.work.lengths(self.number)
        stop = Scheduled(max(map(len, prompt_ids)), lengths)
        generate = self.model.generate
        self.model.generate = functools.partial(
            generate, stopping_criteria=StoppingCriteriaList([stop])
        )
        start = time.perf_counter()
        tokens, _ = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        self.seconds["rollout"] += time.perf_counter() - start
        self.model.generate = generate
        return truncated(tokens, lengths), None

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)
        start = time.perf_counter()
        output = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self.seconds["old_logprobs"] += time.perf_counter() - start
        if not self.number:
            self.logprobs = truncated(output[0].tolist(), list(map(len, self.given.responses)))
        return output

    def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)
        if not self.number:
            self.losses.append(float(loss.detach()))
        return loss


class Steps(TrainerCallback):
    """Waits for a question before each rollout and answers after the last of its updates."""

    def __init__(self, trainer: TimedTrainer, path: Path, answers: Answers) -> None:
        self.trainer, self.path, self.answers = trainer, path, answers

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.trainer.work.mini_batches == 0:
            if self.trainer.number and not self.answers.asked():
                raise SystemExit
            self.trainer.seconds.clear()
            self.start, self.cpu = time.perf_counter(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        if state.global_step % trainer.work.mini_batches == 0:
            total, cpu = time.perf_counter() - self.start, time.process_time() - self.cpu
            if trainer.number:
                rest = total - sum(trainer.seconds.values())
                self.answers.say({**trainer.seconds, "update": rest, "step": total, "cpu": cpu})
            else:
                given = trainer.given
                Check(
                    given.texts,
                    trainer.prompts,
                    given.responses,
                    given.order,
                    trainer.logprobs,
                    trainer.losses,
                ).write(self.path)
                self.answers.say({})
            trainer.number += 1


def reward(completions: list[str], **_: Any) -> list[float]:
    """See `parity`."""
    return [float(parity(text)) for text in completions]


def settings(work: Workload, folder: Path) -> GRPOConfig:
    """The other side's settings in TRL's words, and nothing on that costs time without need."""
    return GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=work.responses // work.mini_batches,
        gradient_accumulation_steps=1,
        steps_per_generation=work.mini_batches,
        num_generations=work.group,
        max_completion_length=work.longest,
        max_steps=STEPS * work.mini_batches,
        learning_rate=work.lr,
        lr_scheduler_type="constant",
        adam_beta1=work.betas[0],
        adam_beta2=work.betas[1],
        max_grad_norm=work.clip_norm,
        epsilon=work.clip,
        loss_type="grpo",
        scale_rewards="group",
        beta=0.0,
        shuffle_dataset=False,
        logging_steps=work.mini_batches,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trl_side", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("workload", choices=WORKLOADS)
    options = parser.parse_args()
    answers, work = Answers(), WORKLOADS[options.workload]
    check = Check.read(options.folder / "ours.json")
    trainer = TimedTrainer(
        model=AutoModelForCausalLM.from_pretrained(options.folder / "policy", dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(
            options.folder / "policy", padding_side="left"
        ),
        reward_funcs=reward,
        args=settings(work, options.folder),
        train_dataset=Dataset.from_dict({"prompt": check.texts * STEPS}),
    )
    trainer.prepare(work, check)
    trainer.add_callback(Steps(trainer, options.folder / "trl.json", answers))
    trainer.train()


if __name__ == "__main__":
    main()
