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
from dataclasses import replace
from heapq import nlargest
from operator import itemgetter

from kpo.common.cli import UserError
from kpo.rollout.engine import Finished, Response, RolloutEngine, Sampling

MAX_CHANCE = 1e-12
CHECKED = 8
"""Repeated responses of a call whose probability is asked for, those with the most tokens first."""


class RepeatError(UserError):
    """Samples repeat beyond chance; the message names the problem."""


def refuse_repeats(
    names: Sequence[str],
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    finished: Finished,
    sampling: Sampling,
    engine: RolloutEngine,
) -> None:
    """Raise RepeatError if samples of a problem are the same beyond chance.

    finished: what `engine.stream(prompts, seeds, sampling)` gave, of the problems `names`. Where
    responses repeat the engine is asked again, for their log-probs.
    """
    if sampling.temperature == 0:
        return
    groups = dict(finished)
    largest = ((*_largest(group), i) for i, group in finished)
    repeats = nlargest(CHECKED, (found for found in largest if found[0]), key=itemgetter(0))
    if not repeats:
        return
    again = engine.generate(
        [prompts[i] for *_, i in repeats],
        [seeds[i] + first for _, first, _, i in repeats],
        replace(sampling, samples=1, logprobs=True),
    )
    for (_, first, times, i), (response,) in zip(repeats, again, strict=True):
        tokens, ways = groups[i][first].tokens, math.log(math.comb(sampling.samples, times))
        if ways + (times - 1) * _log_probability(tokens, response) < math.log(MAX_CHANCE):
            raise RepeatError(
                f"{names[i]}: {times} of {sampling.samples} samples are the same {len(tokens)}"
                f" tokens, which chance makes less than once in {1 / MAX_CHANCE:.0e} times: the"
                " engine does not heed its seeds, or workers share them"
            )


def _largest(group: Sequence[Response]) -> tuple[int, int, int]:
    """The largest coincidence among a problem's samples.

    How many tokens all but one of the copies hold, place of the first copy, number of copies.
    """
    texts = [tuple(response.tokens) for response in group]
    found = ((len(y) * (n - 1), texts.index(y), n) for y, n in Counter(texts).items())
    return max(found, key=itemgetter(0))


def _log_probability(tokens: Sequence[int], again: Response) -> float:
    """Log-probability of the response, in nats, or of as much of it as comes out again.

    Rounding may lead the second time astray; a beginning is more probable than the whole, which
    keeps the bound a bound.
    """
    total = 0.0
    for token, other, logprob in zip(tokens, again.tokens, again.logprobs, strict=False):
        if token != other:
            break
        total += logprob
    return total
