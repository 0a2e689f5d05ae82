"""Group-relative advantages (arXiv 2402.03300, outcome supervision; arXiv 2602.10609).

Deviation: the papers do not say which standard deviation; here it has Bessel's correction, as in
the TRL and verl trainers. It makes every gradient of a run smaller by one factor, sqrt(1 - 1 / G),
which AdamW undoes but for `train.clip_norm`.
"""

from __future__ import annotations

from torch import Tensor


def group_advantages(rewards: Tensor, *, divide_by_std: bool = True) -> Tensor:
    """A = (R - mean R) / (std R + 1e-6) within each group.

    Args:
        rewards: R [N, G], G responses to each of N prompts.
        divide_by_std: False leaves the division out (Dr. GRPO, arXiv 2503.20783).

    Returns: A [N, G] float32; 0 for a group whose rewards are all equal. Raises ValueError unless
    rewards are [N, G] with G >= 2.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards must be [N, G] with G >= 2, got {list(rewards.shape)}")
    R = rewards.float()
    deviation = R - R.mean(1, keepdim=True)
    equal = (R[:, :1] == R).all(1, keepdim=True)
    scale = R.std(1, keepdim=True) + 1e-6 if divide_by_std else 1.0
    return (deviation / scale).masked_fill(equal, 0.0)
