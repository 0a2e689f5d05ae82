"""Every objective's gradient on mini-batches of some ages, beside the true one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kpo.common.cli import UserError
from kpo.common.seeding import derive_seed
from kpo.diagnostics import effective_share
from kpo.estimators.figures import Products, Replicates
from kpo.estimators.frozen import Recorder
from kpo.estimators.gradients import OnPolicy, gradients
from kpo.estimators.table import Found
from kpo.objective import Objective
from kpo.trainer.batch import Rollouts, mini_batches, old_logprobs
from kpo.trainer.step import Updater

HELD_BYTES = 400_000_000
"""Of mini-batches' gradients at once; where all methods' are more, log-probs are computed again."""

Batch = tuple[Rollouts, list[int]]
"""Rollouts, and the rows of one mini-batch of them."""

Kind = Literal["fresh", "trained_on"]
"""Of responses: those that no update was made on, and those that updates since were made on."""


@dataclass(frozen=True)
class Size:
    """How much is sampled.

    Attributes:
        ages: of the weights that sample, in updates before the last ones.
        steps: rollout batches at each age.
        truth: rollout batches of the last weights, whose mean gradient is the truth.
    """

    ages: Sequence[int]
    steps: int
    truth: int

    def fresh_steps(self, recorder: Recorder) -> range:
        """Whose prompts come after those of training: the same at every age."""
        return range(recorder.steps, recorder.steps + self.steps)

    def truth_steps(self, recorder: Recorder) -> range:
        """Those after these."""
        start = recorder.steps + self.steps
        return range(start, start + self.truth)


def compare(
    recorder: Recorder,
    methods: Mapping[str, Objective],
    size: Size,
    done: Callable[[], object] = lambda: None,
) -> Iterator[Found]:
    """What is found after one training that is done; `done` is called for each part.

    Parts are the truth and each set of `looked_at`. Raises UserError for a truth of 0.
    """
    updater = recorder.updater
    parts = recorder.sampled_at(0, size.truth_steps(recorder))
    truth = truths(updater, methods.values(), parts)
    if not any(each.any() for each in truth.values()):
        raise UserError(
            "the true gradient is 0, as within every group all responses earn the same: nothing can"
            " be compared with it"
        )
    done()
    for kind, age, rollouts in _looked_at(recorder, size):
        batches = [batch for each in rollouts for batch in _cut(recorder, each)]
        distance = Distance.of(updater, rollouts)
        for name, inner, clipped in products(updater, methods, batches, truth):
            measured = {
                **vars(distance),
                "clip_fraction": clipped,
                "truth_norm": inner.norm**0.5,
                "truth_noise": inner.noise,
            }
            moments = Replicates.of(inner)
            yield Found(kind, age, name, len(batches), measured, moments)
        done()


def looked_at(recorder: Recorder, ages: Sequence[int]) -> list[tuple[Kind, int]]:
    """What there is to look at: every age, and those whose responses were trained on."""
    used = {recorder.age_of(step) for step in range(recorder.steps)}
    return [("fresh", age) for age in ages] + [("trained_on", age) for age in ages if age in used]


def _looked_at(recorder: Recorder, size: Size) -> Iterator[tuple[Kind, int, list[Rollouts]]]:
    for kind, age in looked_at(recorder, size.ages):
        if kind == "fresh":
            yield kind, age, recorder.sampled_at(age, size.fresh_steps(recorder))
        else:
            yield kind, age, recorder.used[age]


def _cut(recorder: Recorder, rollouts: Rollouts) -> list[Batch]:
    """Mini-batches of the usual size."""
    order = derive_seed(recorder.seed, "estimators")
    count = recorder.config.mini_batches
    return [(rollouts, rows) for rows in mini_batches(rollouts, count, order)]


def truths(
    updater: Updater, objectives: Iterable[Objective], parts: Sequence[Rollouts]
) -> dict[OnPolicy, Tensor]:
    """On-policy gradients [K, P] of K rollouts of the present weights, for every kind there is."""
    kinds = list(dict.fromkeys(map(OnPolicy.of, objectives)))
    found = [gradients(updater, kinds, part, range(len(part.responses)))[0] for part in parts]
    return dict(zip(kinds, torch.stack(found, 1), strict=True))


def at_once(methods: int, batches: int, parameters: int) -> int:
    """Of how many methods all gradients are held at a time."""
    return min(methods, max(1, HELD_BYTES // (4 * parameters * batches)))


def products(
    updater: Updater,
    objectives: Mapping[str, Objective],
    batches: Sequence[Batch],
    truth: Mapping[OnPolicy, Tensor],
) -> Iterator[tuple[str, Products, float]]:
    """Inner products of every objective's gradients, and the share of tokens that it clips."""
    names = list(objectives)
    size = at_once(len(names), len(batches), next(iter(truth.values())).shape[1])
    for start in range(0, len(names), size):
        part = names[start : start + size]
        chosen = [objectives[name] for name in part]
        each = [gradients(updater, chosen, *batch) for batch in batches]
        found, clipped = (torch.stack(values) for values in zip(*each, strict=True))
        for i, name in enumerate(part):
            own, true = found[:, i].double(), truth[OnPolicy.of(chosen[i])].double()
            inner = own @ own.T, own @ true.T, true @ true.T
            yield name, Products(*(x.numpy() for x in inner)), float(clipped[:, i].mean())


@dataclass(frozen=True)
class Distance:
    """How far the present weights are from those that sampled some responses.

    Attributes:
        kl_old: estimate of KL(pi_old || pi) in nats a token.
        ess_responses: effective sample size of whole responses' ratios, as a share of their number.
    """

    kl_old: float
    ess_responses: float

    @classmethod
    def of(cls, updater: Updater, parts: Sequence[Rollouts]) -> Distance:
        """That of several rollouts."""
        divergences, log_ratios = [], []
        for part in parts:
            now, mask, _ = old_logprobs(
                updater.policy, part.prompts, part.responses, updater.budget
            )
            z = (now - part.old_logprobs).masked_fill(~mask, 0).double()
            divergences.append((z.exp() - 1 - z)[mask])
            log_ratios.append(z.sum(1).cpu())
        share = effective_share(torch.cat(log_ratios).numpy())
        return cls(float(torch.cat(divergences).mean()), share)
