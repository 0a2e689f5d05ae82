"""What must not go on silently: values that are not finite, and a phase that hangs."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from kpo.objective import ObjectiveOutput, TokenBatch
from kpo.registry import make_objective
from kpo.rollout.engine import Response, Sampling
from kpo.trainer.guards.failure import NonFiniteError, load_failure
from kpo.trainer.guards.watchdog import STALLED_EXIT_CODE, Watchdog
from kpo.trainer.loop import Trainer
from tests.kpo.models import tiny_policy
from tests.kpo.processes import SERVER
from tests.kpo.trainer.runs import EndlessEngine, tiny_trainer


@dataclass
class Spoilt:
    """GRPO with one thing wrong from its `after`-th call on."""

    what: str
    after: int
    calls: int = 0

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        output = make_objective("grpo")(batch)
        if not batch.logprobs.requires_grad:  # the diagnostics' call
            return output
        self.calls += 1
        if self.calls <= self.after:
            return output
        zero = (batch.logprobs - batch.logprobs.detach()).sum()
        if self.what == "loss":
            return replace(output, loss=output.loss + torch.nan)
        if self.what == "ratio":
            return replace(output, log_ratio=output.log_ratio + 100)
        return replace(output, loss=output.loss + zero.sqrt())  # 0, with an infinite slope


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in trainer.policy.model.parameters()]


@pytest.mark.parametrize("what", ["loss", "ratio", "gradient"])
def test_what_is_not_finite_stops_the_run_before_the_step(tmp_path: Path, what: str) -> None:
    trainer = tiny_trainer(tmp_path / "log", max_tokens_per_microbatch=100)
    per_update = len(trainer.prompts) // 2  # at least: micro-batches of a mini-batch
    trainer.updater = replace(trainer.updater, objective=Spoilt(what, after=3 * per_update))
    before: list[list[torch.Tensor]] = []
    trainer.optimizer.register_step_post_hook(lambda *_: before.append(weights(trainer)))
    with pytest.raises(NonFiniteError, match=rf"step \d: the {what} is not finite") as error:
        trainer.train()
    for now, then in zip(weights(trainer), before[-1], strict=True):
        assert torch.equal(now, then)
    folder = Path(re.findall(r"--failure (\S+)", str(error.value))[0])
    failure = load_failure(folder)
    assert failure.what == what
    assert str(failure.step) in str(error.value).split(":")[0]
    known = {prompt.id: prompt.tokens for prompt in trainer.prompts}
    for response in failure.responses:
        assert known[response.prompt_id] == response.prompt
        assert response.batch.mask.shape == (1, len(response.tokens))
        assert response.batch.mask.all()
    if what == "gradient":  # nothing tells which response it came from: the whole mini-batch
        assert len(failure.responses) == 16
    assert json.loads((folder / "failure.json").read_text())["settings"] == {"seed": 0}


class HangingEngine(EndlessEngine):
    """From its hanging rollout on, the watchdog is impatient."""

    watchdog: Watchdog

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        self.watchdog.stall_s = 0.3
        self.watchdog.beat()
        return super().generate(prompts, seeds, sampling)


def hang(folder: Path) -> None:
    os.dup2(os.open(folder / "stderr", os.O_CREAT | os.O_WRONLY), 2)
    engine = HangingEngine(tiny_policy(seed=3), folder / "hangs", after=0)
    trainer = tiny_trainer(folder, policy=engine.policy, engine=engine, stall_s=900.0)
    engine.watchdog = trainer.watchdog
    trainer.train()


@pytest.mark.slow
def test_a_rollout_that_hangs_ends_the_run_with_all_stacks(tmp_path: Path) -> None:
    process = SERVER.Process(target=hang, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == STALLED_EXIT_CODE
    told = (tmp_path / "stderr").read_text()
    assert "rollout has made no progress for 0.3 s" in told
    assert "in generate" in told
