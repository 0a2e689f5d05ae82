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
    units: int  # of what the loss is a mean over
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


def gaussian_states(z: Array, Q: float, V: float, P_0: float) -> Array:
    """E[x_t | z_1..z_T] for x_0 ~ N(0, P_0), infinite P_0 too: one dense system, no recursion.

    The negative log density is sum (z_t - x_t)^2 / 2V + sum (x_t - x_{t-1})^2 / 2Q + x_1's prior.
    """
    T = len(z)
    steps = np.diff(np.eye(T), axis=0)  # x_{t+1} - x_t
    precision = np.eye(T) / V + steps.T @ steps / Q
    precision[0, 0] += 1 / (P_0 + Q)
    return np.asarray(np.linalg.solve(precision, z / V))


def saturated_row(
    z: Sequence[float], Q: float, P: float, sigmas: float, V: float = 1.0
) -> tuple[list[float], list[bool]]:
    """The filter from variance P with innovations bounded to sigmas of their own deviation."""
    x, states, bounded = 0.0, [], []
    for z_t in z:
        S = P + Q + V
        innovation, bound = z_t - x, sigmas * math.sqrt(S)
        bounded.append(abs(innovation) > bound)
        K = (P + Q) / S if math.isfinite(S) else 1.0
        x += K * min(max(innovation, -bound), bound)
        P = V * K
        states.append(x)
    return states, bounded


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


def weighted(weights: Sequence[float], logp: Sequence[float], A: float) -> list[Term]:
    """sum of sg(w) A log pi."""
    return [
        Term(w * A * lp, w * A, math.log(w) if w else -math.inf)
        for w, lp in zip(weights, logp, strict=True)
    ]


def cispo(
    z: Sequence[float], A: float, logp: Sequence[float], low: float, high: float
) -> list[Term]:
    """Weights are bounded, no token is dropped; the diagnostics see the ratios before."""
    bounded = [min(max(math.exp(z_t), low), high) for z_t in z]
    return [
        term._replace(log_weight=z_t)
        for term, z_t in zip(weighted(bounded, logp, A), z, strict=True)
    ]


def sapo(z: Sequence[float], A: float, positive: float, negative: float) -> list[Term]:
    """4 / tau sigmoid(tau (r - 1)), its slope by the product rule."""
    tau, terms = positive if A > 0 else negative, []
    for z_t in z:
        r = math.exp(z_t)
        odds = math.exp(-tau * (r - 1)) if tau * (r - 1) < 700 else 0.0  # (1 - u) / u
        u = 1 / (1 + odds)
        terms.append(Term(4 / tau * u * A, 4 * u * (odds * u) * r * A, z_t))
    return terms


def dppo_tv(
    z: Sequence[float], A: float, logp: Sequence[float], threshold: float, cap: float
) -> list[Term]:
    """Tokens whose probability moved far in the advantage's direction are dropped."""
    weights = []
    for z_t, lp in zip(z, logp, strict=True):
        moved = math.exp(lp) - math.exp(lp - z_t)
        outside = moved > threshold if A > 0 else -moved > threshold
        weights.append(0.0 if outside else min(math.exp(z_t), cap))
    return [
        term._replace(log_weight=z_t)
        for term, z_t in zip(weighted(weights, logp, A), z, strict=True)
    ]


def vespo(z: Sequence[float], A: float, logp: Sequence[float], k: float, rate: float) -> list[Term]:
    """W^k exp(l (1 - W)) for all tokens, W the product of their ratios."""
    log_W = math.fsum(z)
    log_phi = k * log_W + rate * (1 - math.exp(min(log_W, 700.0)))
    weights = [math.exp(max(log_phi, -80.0))] * len(z)  # less is nothing
    return weighted(weights, logp, A)


def fipo(z: Sequence[float], A: float, clip: Clip, half_life: float, reach: float) -> list[Term]:
    """PPO's term times a bounded weight of what the policy did to the tokens that follow."""
    terms = []
    for t, z_t in enumerate(z):
        future = sum(0.5 ** ((k - t) / half_life) * z[k] for k in range(t, len(z)))
        low, high = 1.0, 1 + reach
        if A < 0 and math.exp(z_t) > 4:
            low, high = 1 - reach, 1.0
        f = min(max(math.exp(min(future, 700.0)), low), high)
        value, slope, _ = clipped_term(z_t, A, clip)
        terms.append(Term(f * value, f * slope, z_t))
    return terms


DEFAULT_CLIP = {
    "grpo": Clip(0.2, 0.2),
    "dapo": Clip(0.2, 0.28),
    "dr_grpo": Clip(0.2, 0.2),
    "token_clipped": Clip(3e-4, 4e-4),
    "gspo": Clip(3e-4, 4e-4),
    "gmpo": Clip(0.4, 0.4),
    "kpo": Clip(3e-4, 4e-4),
    "fipo": Clip(0.2, 0.28),
}
OVER_TOKENS = ("dapo", "cispo", "dppo_tv", "vespo", "fipo")


def q_of(settings: Settings) -> float:
    """The q of KPO's settings."""
    q, memory = settings.get("q"), settings.get("memory")
    if q is not None:
        return q
    assert memory is not None
    K = 1 / memory
    return K * K / (1 - K)


def response_terms(
    name: str, settings: Settings, z: Sequence[float], A: float, logp: Sequence[float]
) -> list[Term]:
    """The terms of one response; the defaults are written here again."""

    def setting(key: str, default: float | None = None) -> float:
        value = settings.get(key, default)
        return math.inf if value is None else value

    low, high = DEFAULT_CLIP.get(name, (None, None))
    clip = Clip(setting("clip_low", low), setting("clip_high", high))
    side = "positive" if A > 0 or (name == "vespo" and A == 0) else "negative"
    k, rate = {"positive": (2.0, 3.0), "negative": (3.0, 2.0)}[side]
    terms: dict[str, Callable[[], list[Term]]] = {
        "grpo": lambda: grpo(z, A, clip),
        "gspo": lambda: gspo(z, A, clip),
        "gmpo": lambda: gmpo(z, A, clip),
        "cispo": lambda: cispo(z, A, logp, setting("weight_low", 0.0), setting("weight_high", 5.0)),
        "sapo": lambda: sapo(z, A, setting("tau_positive", 1.0), setting("tau_negative", 1.05)),
        "dppo_tv": lambda: dppo_tv(z, A, logp, setting("threshold", 0.15), setting("cap", 20.0)),
        "vespo": lambda: vespo(z, A, logp, setting(f"k_{side}", k), setting(f"l_{side}", rate)),
        "reinforce": lambda: weighted([1.0] * len(z), logp, A),
        "fipo": lambda: fipo(z, A, clip, setting("half_life", 32.0), setting("reach", 0.2)),
        "kpo": lambda: kpo(z, A, clip, q_of(settings)),
    }
    return terms["grpo" if name in ("dapo", "dr_grpo", "token_clipped") else name]()


def expected(
    name: str,
    settings: Settings,
    z: Array,
    advantages: Array,
    mask: NDArray[np.bool_],
    logprobs: Array,
) -> Expected:
    """Minus the sum over responses of the mean, or the sum, over their tokens."""
    loss, count = 0.0, 0
    gradient, log_ratio = np.zeros(z.shape), np.zeros(z.shape)
    for i, A in enumerate(advantages.tolist()):
        tokens = np.flatnonzero(mask[i])
        if len(tokens) == 0:
            continue
        w = 1 / len(tokens)
        if name == "dr_grpo":
            w, count = 1.0, count + int(settings["length"] or 0)
        elif name in OVER_TOKENS:
            w, count = 1.0, count + len(tokens)
        else:
            count += 1
        found = response_terms(
            name, settings, z[i, tokens].tolist(), A, logprobs[i, tokens].tolist()
        )
        for t, term in zip(tokens, found, strict=True):
            loss -= term.value * w
            gradient[i, t] = -term.slope * w
            log_ratio[i, t] = term.log_weight
    return Expected(loss, count, gradient, log_ratio)
