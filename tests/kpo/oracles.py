"""The paper's formulae in plain Python floats: one loop over responses, one over tokens.

Nothing of the suite is imported here, so that a mistake in it cannot be repeated here. Every
method is written as value and slope of one response's terms; the slope is the derivative by hand
of a term with respect to its own token's log-probability.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Settings = Mapping[str, float | None]


class Clip(NamedTuple):
    low: float
    high: float


class Term(NamedTuple):
    value: float  # what the objective (maximised) gets from the token
    slope: float  # d value / d log pi(token)
    log_weight: float  # log of the ratio that weights the token


class Expected(NamedTuple):
    loss: float
    responses: int
    gradient: Array  # d loss / d logprobs, 0 where masked
    log_ratio: Array  # 0 where masked


# The filter


def gain_path(length: int, Q: float, V: float = 1.0) -> list[tuple[float, float]]:
    """(K_t, P_t) for t = 1..length, from P_0 = 0."""
    P, path = 0.0, []
    for _ in range(length):
        P_pred = P + Q
        K = P_pred / (P_pred + V)
        P = V / (P_pred + V) * P_pred  # (1 - K) P_pred, also where K rounds to 1
        path.append((K, P))
    return path


def filter_row(z: Sequence[float], Q: float, V: float = 1.0) -> list[float]:
    """x_t for one response whose tokens are all observed."""
    x, filtered = 0.0, []
    for z_t, (K, _) in zip(z, gain_path(len(z), Q, V), strict=True):
        x += K * (z_t - x)
        filtered.append(x)
    return filtered


def filter_masked(z: Array, mask: NDArray[np.bool_], Q: float, V: float = 1.0) -> Array:
    """Each row filtered as if its masked tokens had been cut out; 0 at those."""
    filtered = np.zeros(z.shape, dtype=np.float64)
    for row, z_row, seen in zip(filtered, z, mask, strict=True):
        row[seen] = filter_row(z_row[seen].tolist(), Q, V)
    return filtered


def posterior_means(z: Array, Q: float, V: float) -> Array:
    """E[x_t | z_1..t] by conditioning the one dense Gaussian of all states and observations.

    x_t is the sum of w_1..w_t and z_t = x_t + e_t, so (x, z) = M (w, e) with w ~ N(0, Q), e ~
    N(0, V) has covariance M diag(Q, V) M'. No recursion, no gains.
    """
    T = len(z)
    walk = np.tril(np.ones((T, T)))
    M = np.block([[walk, np.zeros((T, T))], [walk, np.eye(T)]])
    joint = M @ np.diag([Q] * T + [V] * T) @ M.T
    means = [
        joint[t, T : T + t + 1] @ np.linalg.solve(joint[T : T + t + 1, T : T + t + 1], z[: t + 1])
        for t in range(T)
    ]
    return np.array(means)


# The objectives: the terms of one response from its log-ratios z and its advantage A


def clipped_term(log_ratio: float, A: float, clip: Clip) -> Term:
    """min(r A, clip(r, 1 - low, 1 + high) A), r' = r as log pi moves; a clipped term stands."""
    r = math.exp(log_ratio)
    bounded = min(max(r, 1 - clip.low), 1 + clip.high)
    if bounded * A < r * A:
        return Term(bounded * A, 0.0, log_ratio)
    return Term(r * A, r * A, log_ratio)


def grpo(z: Sequence[float], A: float, clip: Clip) -> list[Term]:
    return [clipped_term(z_t, A, clip) for z_t in z]


def gspo(z: Sequence[float], A: float, clip: Clip) -> list[Term]:
    mean_z = sum(z) / len(z)
    return [clipped_term(mean_z, A, clip) for _ in z]


def gmpo(z: Sequence[float], A: float, clip: Clip) -> list[Term]:
    """A times the geometric mean of the ratios, each clipped where clipping makes it worse."""
    kept = [min(z_t, clip.high) if A > 0 else max(z_t, -clip.low) for z_t in z]
    log_weight = sum(kept) / len(kept)
    weight = math.exp(log_weight)
    return [
        Term(weight * A, weight * A if k == z_t else 0.0, log_weight)
        for k, z_t in zip(kept, z, strict=True)
    ]


def kpo(z: Sequence[float], A: float, clip: Clip, q: float) -> list[Term]:
    return [clipped_term(x_t, A, clip) for x_t in filter_row(z, Q=q)]


TERMS: dict[str, Callable[[Sequence[float], float, Clip], list[Term]]] = {
    "grpo": grpo,
    "token_clipped": grpo,
    "gspo": gspo,
    "gmpo": gmpo,
}
DEFAULT_CLIP = {
    "grpo": Clip(0.2, 0.2),
    "token_clipped": Clip(3e-4, 4e-4),
    "gspo": Clip(3e-4, 4e-4),
    "gmpo": Clip(0.4, 0.4),
    "kpo": Clip(3e-4, 4e-4),
}


def q_of_memory(memory: float) -> float:
    K = 1 / memory
    return K * K / (1 - K)


def clip_of(name: str, settings: Settings) -> Clip:
    """The clip of a method's settings; None is no clip at all."""
    default = DEFAULT_CLIP[name]
    low = settings.get("clip_low", default.low)
    high = settings.get("clip_high", default.high)
    return Clip(math.inf if low is None else low, math.inf if high is None else high)


def response_terms(name: str, settings: Settings, z: Sequence[float], A: float) -> list[Term]:
    clip = clip_of(name, settings)
    if name != "kpo":
        return TERMS[name](z, A, clip)
    memory = settings.get("memory")
    q = settings.get("q") if memory is None else q_of_memory(memory)
    assert q is not None
    return kpo(z, A, clip, q)


def expected(
    name: str, settings: Settings, z: Array, advantages: Array, mask: NDArray[np.bool_]
) -> Expected:
    """Minus the sum over responses of the mean over their tokens."""
    loss, responses = 0.0, 0
    gradient, log_ratio = np.zeros(z.shape), np.zeros(z.shape)
    for i, A in enumerate(advantages.tolist()):
        tokens = np.flatnonzero(mask[i])
        if len(tokens) == 0:
            continue
        responses += 1
        for t, term in zip(
            tokens, response_terms(name, settings, z[i, tokens].tolist(), A), strict=True
        ):
            loss -= term.value / len(tokens)
            gradient[i, t] = -term.slope / len(tokens)
            log_ratio[i, t] = term.log_weight
    return Expected(loss, responses, gradient, log_ratio)
