"""Samples of one problem that are the same although chance would not have it.

An engine that does not heed its seeds, or two workers with the same ones, give a response again and
again. So do short answers and certain models, legitimately; how certain, the model itself tells.
If m of k samples are one response that has probability p, then

    P(m of k samples are the same response, of probability p or less) <= C(k, m) p^(m - 1)

since a response y is the same m times with probability at most C(k, m) p(y)^m, and the sum of
p(y)^m over all y with p(y) <= p is at most p^(m - 1). Samples for which that bound is below
MAX_CHANCE are refused: of a million problems it then strikes a sound engine once in a million runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kpo.common.cli import UserError

if TYPE_CHECKING:  # slow to import, for who only takes samples as they are
    from kpo.rollout.engine import Response, RolloutEngine, Sampling

MAX_CHANCE = 1e-12
CHECKED = 8
"""Repeated responses of a call whose probability is asked for, those with the most tokens first."""


class RepeatError(UserError):
    """Samples repeat beyond chance; the message names the problem."""


@dataclass(frozen=True)
class _Repeat:
    """A response that stands `times` times among the samples of a problem, `first` at first."""

    problem: int
    first: int
    times: int
    tokens: tuple[int, ...]

    @property
    def spared(self) -> int:
        """Tokens that all but one of the copies hold: how much coincidence there is."""
        return (self.times - 1) * len(self.tokens)


def refuse_repeats(
    names: Sequence[str],
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    groups: Sequence[Sequence[Response]],
    sampling: Sampling,
    engine: RolloutEngine,
) -> None:
    """Raise RepeatError if samples of a problem are the same beyond chance.

    groups: what `engine.generate(prompts, seeds, sampling)` gave, of the problems `names`. Where
    responses repeat the engine is asked again, for their log-probs.
    """
    if sampling.temperature == 0:
        return
    repeats = [r for i, group in enumerate(groups) if (r := _repeat(i, group)) is not None]
    repeats = sorted(repeats, key=lambda r: r.spared, reverse=True)[:CHECKED]
    if not repeats:
        return
    again = engine.generate(
        [prompts[r.problem] for r in repeats],
        [seeds[r.problem] + r.first for r in repeats],
        replace(sampling, samples=1, logprobs=True),
    )
    for repeat, (response,) in zip(repeats, again, strict=True):
        ways = math.log(math.comb(sampling.samples, repeat.times))
        if ways + (repeat.times - 1) * _log_probability(repeat, response) < math.log(MAX_CHANCE):
            raise RepeatError(
                f"{names[repeat.problem]}: {repeat.times} of {sampling.samples} samples are the"
                f" same {len(repeat.tokens)} tokens, which chance makes less than once in"
                f" {1 / MAX_CHANCE:.0e} times: the engine does not heed its seeds, or workers share"
                " them"
            )


def _repeat(problem: int, group: Sequence[Response]) -> _Repeat | None:
    """The largest coincidence among a problem's samples, if there is one."""
    responses = [tuple(response.tokens) for response in group]
    repeats = [
        _Repeat(problem, responses.index(tokens), times, tokens)
        for tokens, times in Counter(responses).items()
        if times > 1
    ]
    return max(repeats, key=lambda repeat: repeat.spared, default=None)


def _log_probability(repeat: _Repeat, again: Response) -> float:
    """Log-probability of the response, in nats, or of as much of it as comes out again.

    Rounding may lead the second time astray; a beginning is more probable than the whole, which
    keeps the bound a bound.
    """
    total = 0.0
    for token, other, logprob in zip(repeat.tokens, again.tokens, again.logprobs, strict=False):
        if token != other:
            break
        total += logprob
    return total
