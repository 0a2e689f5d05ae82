"""The suite's own trainer as one side of `bench_trainer`.

    python -m tests.bench.our_side FOLDER WORKLOAD

Makes the policy and the prompts, writes them to FOLDER with a first step for the other side to
repeat, then takes one whole training step for every line on standard input.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from kpo.baselines.grpo import GRPO
from kpo.config.policy import ScratchPolicy
from kpo.config.train import Train
from kpo.evals.grading.grader import Grade
from kpo.model.policy import Policy, save_model
from kpo.objective import ObjectiveOutput, TokenBatch
from kpo.rollout.transformers import TransformersEngine
from kpo.trainer import loop
from kpo.trainer.base_policy import scratch_policy
from kpo.trainer.batch import Prompt, mini_batches
from kpo.trainer.log import RunLog
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.state.progress import Position
from tests.bench.trainer_workloads import NEVER, WORKLOADS, Answers, Check, Workload, parity, serve

WORDS = 32_000
NO_END = frozenset([NEVER])


def tiny_policy() -> Policy:
    """The embedded default's architecture, 0.3 M parameters, before its warm-up."""
    policy = scratch_policy(ScratchPolicy(kind="scratch"))
    return Policy(policy.model, policy.tokenizer, NO_END)


def word_policy() -> Policy:
    """A random Qwen3 of 10 M parameters with a vocabulary of 32,000 words."""
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w1")
    config = Qwen3Config(
        vocab_size=WORDS,
        hidden_size=192,
        num_hidden_layers=8,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=576,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return Policy(Qwen3ForCausalLM(config), tokenizer, NO_END)


def tiny_prompts(rng: random.Random, count: int) -> list[str]:
    """Sums of some terms."""
    return [
        "+".join(str(rng.randint(10, 99)) for _ in range(rng.randint(3, 8))) for _ in range(count)
    ]


def word_prompts(rng: random.Random, count: int) -> list[str]:
    """16 to 64 random words."""
    return [
        " ".join(f"w{rng.randrange(2, WORDS)}" for _ in range(rng.randint(16, 64)))
        for _ in range(count)
    ]


MAKERS = {"tiny": (tiny_policy, tiny_prompts), "skewed": (word_policy, word_prompts)}


class ScheduledEngine(TransformersEngine):
    """Ends each response at its own length."""

    def schedule(self, lengths: Sequence[int]) -> None:
        """The lengths of the next responses."""
        self.lengths = torch.tensor(lengths)

    def _ended(self, row: Tensor, token: Tensor, length: int) -> Tensor:
        return self.lengths[row] <= length


class RecordedGRPO(GRPO):
    """GRPO that keeps the (sum, count) of its losses."""

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        output = super().__call__(batch)
        RECORD.append((float(output.loss.detach()), float(output.count)))
        return output


RECORD: list[tuple[float, float]] = []


class Side:
    """The trainer with a clock."""

    def __init__(self, work: Workload, folder: Path) -> None:
        policy_of, prompts_of = MAKERS[work.name]
        policy = policy_of()
        save_model(policy.model, policy.tokenizer, folder / "policy")
        texts = prompts_of(random.Random(0), work.prompts)
        prompts = [Prompt(text, policy.tokenizer(text)["input_ids"], "") for text in texts]
        self.work, self.folder, self.number = work, folder, 0
        self.engine = ScheduledEngine(policy)
        self.trainer = loop.Trainer(
            policy=policy,
            objective=RecordedGRPO(clip_low=work.clip, clip_high=work.clip),
            engine=self.engine,
            reward=lambda pairs: [Grade(parity(text), "ok", None) for _, text in pairs],
            prompts=prompts,
            config=Train(
                problems="none",
                steps=1000,
                prompts=work.prompts,
                group=work.group,
                mini_batches=work.mini_batches,
                max_tokens_per_microbatch=2048,  # as the embedded default
                max_prompt_tokens=max(len(prompt.tokens) for prompt in prompts),
                max_response_tokens=work.longest,
                lr=work.lr,
                betas=work.betas,
                warm_up=0.0,
                clip_norm=work.clip_norm,
                threads=torch.get_num_threads(),
            ),
            seed=0,
            log=RunLog(folder / "run"),
            checkpoints=Checkpoints(folder / "checkpoints", {}),
        )

    def check(self) -> Check:
        """The first step, with what it computed."""
        order: list[int] = []
        losses: list[float] = []

        def recorded(*args: Any) -> Iterator[list[int]]:
            for rows in mini_batches(*args):
                order.extend(rows)
                yield rows
                losses.append(sum(loss for loss, _ in RECORD) / sum(n for _, n in RECORD))
                RECORD.clear()

        with patch.object(loop, "mini_batches", recorded):
            rollouts = self._rollout()
            self.trainer.learn(Position(0, deque([rollouts])))
        tokens = [response.tokens for response in rollouts.responses]
        return Check(
            texts=[prompt.id for prompt in rollouts.prompts],
            prompts=[prompt.tokens for prompt in rollouts.prompts],
            responses=tokens,
            order=order,
            logprobs=[
                row[: len(ids)]
                for row, ids in zip(rollouts.old_logprobs.tolist(), tokens, strict=True)
            ],
            losses=losses,
        )

    def step(self) -> dict[str, float]:
        """Seconds of a whole step, by phase."""
        self.number += 1
        start, cpu = time.perf_counter(), time.process_time()
        self.trainer.learn(Position(self.number, deque([self._rollout()])))
        total, cpu = time.perf_counter() - start, time.process_time() - cpu
        phases = json.loads((self.folder / "run/timings.jsonl").read_text().splitlines()[-1])
        del phases["step"]
        return {**phases, "step": total, "cpu": cpu}

    def _rollout(self) -> Any:
        self.engine.schedule(self.work.lengths(self.number))
        return self.trainer.rollout(self.number)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.our_side", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("workload", choices=WORKLOADS)
    options = parser.parse_args()
    answers = Answers()
    side = Side(WORKLOADS[options.workload], options.folder)
    side.check().write(options.folder / "ours.json")
    answers.say({})
    serve(answers, side.step)


if __name__ == "__main__":
    main()
