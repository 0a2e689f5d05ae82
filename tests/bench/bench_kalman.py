"""Speed and error of the Kalman filter beside a token loop and the naive cumulative sum.

    python -m tests.bench.bench_kalman

Reads and writes nothing, prints a table. The forms are timed in turns in one process (A B C A B C
...), and medians are compared. The naive cumulative-sum form stands there three times:

- closed form: gains from hyperbolic sines at each call, the mask multiplied in, as published;
- by mask: the filter's whole job, each row's gains by its own mask, gains from a cache;
- stripped: nothing masked and everything but z known beforehand, a lower bound that is faster than
  the filter, but in float32 it is also wrong (see its error) and it cannot serve a ragged batch.

The token loop is stripped too. The error is the largest of any row, max |x - x_ref| / max |x_ref|,
against the float64 recursion on the same float32 input.
"""

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from kpo.kalman import kalman_filter, kalman_filter_reference, kalman_gains

SHAPES = [(8, 4096), (64, 4096), (256, 4096), (8, 32768)]
Q_TIMED = 1e-6
Q_ALSO = 1e-2  # for a second error: a quick filter is harder on the naive form
ROUNDS, LOOP_EVERY = 30, 15  # the token loop takes part in every 15th round only

Form = Callable[[Tensor, Tensor], Tensor]  # z, mask -> x


def forms(length: int, q: float) -> dict[str, Form]:
    """All forms for responses up to that length; K and A are their caches."""
    K = kalman_gains(length, q).float()
    A = (1 - K).cumprod(0)
    K_list = K.tolist()
    K_of_count = torch.cat([K.new_zeros(1), K])

    def filtered(z: Tensor, mask: Tensor) -> Tensor:
        return kalman_filter(z, mask, q=q)

    def closed_form(z: Tensor, mask: Tensor) -> Tensor:
        """K_t = 2 sinh(a) sinh(2 t a) / cosh((2 t + 1) a), a = asinh(sqrt(q) / 2)."""
        t = torch.arange(1, z.shape[1] + 1, dtype=torch.float32)
        a = math.asinh(math.sqrt(q) / 2)
        K = 2 * math.sinh(a) * torch.sinh(2 * t * a) / torch.cosh((2 * t + 1) * a)
        A = (1 - K).cumprod(0)
        return A * (K * (z * mask) / A).cumsum(1) * mask

    def by_mask(z: Tensor, mask: Tensor) -> Tensor:
        """x_t = A_t cumsum(K_i z_i / A_i), A_t = prod(1 - K_i); K_i = 0 where masked."""
        K = K_of_count[mask.cumsum(1)] * mask
        A = (1 - K).cumprod(1)
        return A * (K * z / A).cumsum(1) * mask

    def stripped(z: Tensor, _: Tensor) -> Tensor:
        return A * (K * z / A).cumsum(1)

    def token_loop(z: Tensor, _: Tensor) -> Tensor:
        """x_t = x_{t-1} + K_t (z_t - x_{t-1}), one token of all rows at a time."""
        x, states = torch.zeros_like(z[:, 0]), []
        for z_t, K_t in zip(z.unbind(1), K_list, strict=True):
            x = x + K_t * (z_t - x)
            states.append(x)
        return torch.stack(states, 1)

    return {
        "filter": filtered,
        "naive, closed form": closed_form,
        "naive, by mask": by_mask,
        "naive, stripped": stripped,
        "token loop": token_loop,
    }


def seconds(form: Form, z: Tensor, mask: Tensor) -> float:
    start = time.perf_counter()
    form(z, mask)
    return time.perf_counter() - start


def median_seconds(z: Tensor, mask: Tensor) -> dict[str, float]:
    """Median seconds of each form; the forms take turns."""
    rivals = forms(z.shape[1], Q_TIMED)
    for form in rivals.values():
        form(z, mask)  # fills the caches
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(ROUNDS):
        for name, form in rivals.items():
            if name != "token loop" or turn % LOOP_EVERY == 0:
                times[name].append(seconds(form, z, mask))
    return {name: statistics.median(values) for name, values in times.items()}


def errors(z: Tensor, mask: Tensor, q: float) -> dict[str, float]:
    """Relative error of each form, nan where it breaks."""
    reference = kalman_filter_reference(z, mask, q=q)
    scale = reference.abs().amax(1)
    return {
        name: float(((form(z, mask) - reference).abs().amax(1) / scale).max())
        for name, form in forms(z.shape[1], q).items()
    }


def main() -> None:
    torch.manual_seed(0)
    print(f"q = {Q_TIMED:g}, float32 input, {torch.get_num_threads()} threads, no token masked")
    header = f"{'B x T':>11}  {'form':<20}{'median ms':>10}{'/ filter':>10}"
    print(f"{header}{'rel. error':>12}{f'at q = {Q_ALSO:g}':>14}")
    for batch, length in SHAPES:
        z = 0.1 * torch.randn(batch, length)
        mask = torch.ones_like(z, dtype=torch.bool)
        times = median_seconds(z, mask)
        timed, also = errors(z, mask, Q_TIMED), errors(z, mask, Q_ALSO)
        for name, median in times.items():
            print(
                f"{f'{batch} x {length}':>11}  {name:<20}{1e3 * median:>10.3f}"
                f"{median / times['filter']:>10.2f}{timed[name]:>12.1e}{also[name]:>14.1e}"
            )


if __name__ == "__main__":
    main()
