"""Whether an objective returns what the trainer takes it for: tried on small batches, before work.

The trainer adds up losses, counts and metrics over micro-batches and divides once. An objective
that averages, lets padding count, counts something else than it declares or mixes up shapes would
train all the same, on something else.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from math import isclose
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from kpo.common.cli import UserError
from kpo.diagnostics import NOISE
from kpo.evals.grading.statuses import FAILURES
from kpo.objective import Objective, ObjectiveOutput, TokenBatch, denominator, mean_over

LOGGED = {
    *("step", "loss", "lr", "grad_norm", "kl_old"),
    *("reward", "response_tokens", "truncated", "zero_std_groups", "entropy"),
    *("logprob_mismatch_mean", "logprob_mismatch_max"),
    *FAILURES,
    *NOISE,
}
LOGGED_PREFIXES = ("ratio_", "ess_", "switch_")
"""Names in metrics.jsonl that are the trainer's own."""

PROBES = ((3, 5, 4, 8, 2, 6), (5,), (1,))
"""Tokens of the responses of each batch; the halves of the first differ in their longest."""
TOLERANCE = 1e-4
"""Relative, for float32 sums in another order."""


class ObjectiveError(UserError):
    """An objective that returns something else than the trainer needs."""


def check_objective(objective: Objective, where: str = "") -> None:
    """Try the objective; raise ObjectiveError, `where` and a sentence for the first fault."""
    over: Any = mean_over(objective)
    try:
        _require(
            over in ("responses", "tokens") or (type(over) is int and over > 0),
            f"declares mean_over = {over!r}, but it must be 'responses', 'tokens' or a number of"
            " tokens, which each response counts as",
        )
        with torch.enable_grad():
            for lengths in PROBES:
                _check(objective, lengths)
    except ObjectiveError as error:
        named = f"{where}objective {type(objective).__name__} {error}"
        raise ObjectiveError(named) from error.__cause__


def check_methods(objectives: Mapping[str, Objective]) -> None:
    """Try the objectives of an experiment's methods; the ObjectiveError names the method."""
    for name, objective in objectives.items():
        check_objective(objective, f"methods.{name}: ")


def probe(lengths: tuple[int, ...], rows: slice = slice(None), padding: float = 7.0) -> TokenBatch:
    """A seeded batch of responses of these lengths, or of some rows, cut to their longest.

    Ratios lie within usual clips, and beyond. Padding holds numbers that are no log-probs.
    """
    generator = torch.Generator().manual_seed(0)
    shape = len(lengths), max(lengths)
    mask = torch.arange(shape[1])[None] < torch.tensor(lengths)[:, None]
    scale = torch.tensor([1e-4, 1e-2, 0.5]).repeat(len(lengths))[: len(lengths), None]
    old = -0.1 - 2 * torch.rand(shape, generator=generator)
    new = old + scale * torch.randn(shape, generator=generator)
    width = max(lengths[rows])
    return TokenBatch(
        logprobs=new.masked_fill(~mask, padding)[rows, :width].requires_grad_(),
        old_logprobs=old.masked_fill(~mask, -5.0)[rows, :width],
        advantages=torch.linspace(1.5, -1.0, len(lengths))[rows],
        mask=mask[rows, :width],
    )


def _check(objective: Objective, lengths: tuple[int, ...]) -> None:
    batch = probe(lengths)
    output, gradient = _call(objective, batch)
    again, _ = _call(objective, batch)
    _require(
        float(output.loss) == float(again.loss),
        "returns two losses for one batch: it must neither draw nor remember anything",
    )
    elsewhere, _ = _call(objective, probe(lengths, padding=-3.0))
    _require(
        _close(output.loss, elsewhere.loss) and not bool(gradient[~batch.mask].any()),
        "lets places outside batch.mask into its loss: leave padding out",
    )
    if len(lengths) > 1:
        _check_sums(objective, lengths, output, gradient)


def _call(objective: Objective, batch: TokenBatch) -> tuple[ObjectiveOutput, Tensor]:
    """What the objective returns, its form checked, and the gradient to log pi [B, T]."""
    B, T = batch.mask.shape
    try:
        output = objective(batch)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        at = [frame for frame in frames if "site-packages" not in frame.filename][-1]
        raise ObjectiveError(
            f"fails on {B} responses of up to {T} tokens, {at.filename}, line {at.lineno}:"
            f" {type(error).__name__}: {error}"
        ) from error
    _check_form(output, batch)
    lengths = batch.mask.sum(1).tolist()
    wanted, over = denominator(objective, lengths), mean_over(objective)
    unit = over if isinstance(over, str) else f"{over} tokens a response"
    _require(
        _is_number(output.count) and float(output.count) == wanted,
        f"counts {_shown(output.count)} for {B} responses of {sum(lengths)} tokens, but declares a"
        f" mean over {unit}, which is {wanted}",
    )
    (gradient,) = torch.autograd.grad(output.loss, batch.logprobs, allow_unused=True)
    _require(gradient is not None, "returns a loss without a gradient to batch.logprobs")
    finite = output.loss.isfinite() & output.log_ratio.isfinite().all() & gradient.isfinite().all()
    _require(bool(finite), "returns NaN or infinity for a batch of finite numbers")
    return replace(output, loss=output.loss.detach()), gradient


def _check_form(output: Any, batch: TokenBatch) -> None:
    """Types, shapes and names."""
    is_output = isinstance(output, ObjectiveOutput)
    _require(is_output, f"returns {_what(output)}, but must return an ObjectiveOutput")
    loss, log_ratio, metrics = output.loss, output.log_ratio, output.metrics
    _require(
        isinstance(loss, Tensor) and loss.shape == () and loss.is_floating_point(),
        f"returns as its loss {_what(loss)}, but it must be one number, a sum over responses",
    )
    _require(loss.requires_grad, "returns a loss without a gradient to batch.logprobs")
    shape = batch.mask.shape
    _require(
        isinstance(log_ratio, Tensor) and log_ratio.shape == shape and not log_ratio.requires_grad,
        f"returns as log_ratio {_what(log_ratio)}, but it must be the log-ratio of every token,"
        f" a detached tensor {list(shape)}",
    )
    outside = bool(log_ratio[~batch.mask].any())
    _require(not outside, "returns a log_ratio other than 0 outside batch.mask")
    is_dict = isinstance(metrics, Mapping)
    _require(is_dict, f"returns as metrics {_what(metrics)}, but they must be a dict")
    for name, pair in metrics.items():
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        _require(
            is_pair and all(_is_number(value) for value in pair),
            f"returns as metric {name!r} {_what(pair)}, but it must be a pair of numbers,"
            " (sum, count)",
        )
        _require(
            isinstance(name, str) and name not in LOGGED and not name.startswith(LOGGED_PREFIXES),
            f"names a metric {name!r}, which the trainer logs itself: choose another name",
        )


def _check_sums(
    objective: Objective, lengths: tuple[int, ...], output: ObjectiveOutput, gradient: Tensor
) -> None:
    """A batch is worth what its halves are together, each cut to its longest response."""
    B, T = gradient.shape
    halves = [probe(lengths, rows) for rows in (slice(B // 2), slice(B // 2, B))]
    outputs, gradients = zip(*(_call(objective, half) for half in halves), strict=True)
    together = sum(output.loss for output in outputs)
    _require(
        _close(output.loss, together),
        f"returns the loss {_shown(output.loss)} for {B} responses, but {_shown(together)} for"
        " their halves together: it must be a sum, not a mean; the trainer divides",
    )
    joined = torch.cat([pad(part, (0, T - part.shape[1])) for part in gradients])
    _require(
        torch.allclose(gradient, joined, rtol=TOLERANCE, atol=TOLERANCE * float(gradient.norm())),
        "weighs a response's gradient by the responses beside it, so that micro-batches would"
        " change what is learnt",
    )
    for name, pair in output.metrics.items():
        parts = [output.metrics.get(name, (0.0, 0.0)) for output in outputs]
        sums = [sum(map(float, column)) for column in zip(*parts, strict=True)]
        _require(
            all(map(_close, pair, sums)),
            f"returns as metric {name!r} ({', '.join(map(_shown, pair))}) for {B} responses, but"
            f" ({', '.join(map(_shown, sums))}) for their halves together: both must be sums",
        )


def _require(met: bool, sentence: str) -> None:
    if not met:
        raise ObjectiveError(sentence)


def _close(a: Any, b: Any) -> bool:
    return isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _is_number(value: Any) -> bool:
    return value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, int | float)


def _shown(value: Any) -> str:
    return f"{float(value):.4g}" if _is_number(value) else _what(value)


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        gradient = ", with gradient" if value.requires_grad else ""
        return f"a tensor {list(value.shape)}{gradient}"
    return f"a {type(value).__name__}"
