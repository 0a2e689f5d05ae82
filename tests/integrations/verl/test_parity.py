"""Our objectives beside verl's own losses: the same tensors, the same values and gradients.

Settings are given where the two have other defaults; kpo/integrations/README.md lists those, and
what `test_differences` shows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch

pytest.importorskip("verl", reason="verl's environment runs these: make test-integrations")
from tests.integrations.verl.actor import ask, of_ours, of_verl, without_empty_rows


class Pair(NamedTuple):
    ours: str
    settings: dict[str, Any]
    verls: str
    its: dict[str, Any]
    mean: str = "seq-mean-token-mean"
    length: int | None = None


def clip(low: float, high: float) -> dict[str, float]:
    return {"clip_ratio_low": low, "clip_ratio_high": high}


NO_DUAL_CLIP = {"clip_ratio_c": 1e9}
PAIRS = {
    "grpo": Pair("grpo", {}, "vanilla", NO_DUAL_CLIP),
    "token_clipped": Pair("token_clipped", {}, "vanilla", clip(3e-4, 4e-4) | NO_DUAL_CLIP),
    "dapo": Pair("dapo", {}, "vanilla", clip(0.2, 0.28) | NO_DUAL_CLIP, "token-mean"),
    "dr_grpo": Pair(
        *("dr_grpo", {"length": 40}, "vanilla", NO_DUAL_CLIP, "seq-mean-token-sum-norm", 40)
    ),
    "gspo": Pair("gspo", {}, "gspo", clip(3e-4, 4e-4)),
    "gmpo": Pair("gmpo", {}, "geo_mean", clip(0.4, 0.4)),
    "cispo": Pair("cispo", {}, "cispo", clip(1.0, 4.0), "token-mean"),
    "cispo-narrow": Pair(
        *("cispo", {"weight_low": 0.8, "weight_high": 1.2}, "cispo", {}, "token-mean")
    ),
    "sapo": Pair("sapo", {}, "sapo", {}),
    "dppo_tv": Pair(
        *("dppo_tv", {}, "dppo_tv", clip(0.15, 0.15) | {"clip_ratio_c": 20.0}, "token-mean")
    ),
    "dppo_tv-verl": Pair(*("dppo_tv", {"threshold": 0.2, "cap": 3.0}, "dppo_tv", {}, "token-mean")),
    "reinforce": Pair("reinforce", {}, "gpg", {}),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("seed", [0, 1])
def test_same_value_and_gradient(pair: Pair, seed: int) -> None:
    batch = without_empty_rows(seed)
    sizes = {"global_batch_size": len(batch.mask), "batch_num_tokens": int(batch.mask.sum())}
    ours = of_ours(f"kpo_{pair.ours}", pair.mean, pair.length, **pair.settings)
    verls = of_verl(pair.verls, loss_agg_mode=pair.mean, loss_scale_factor=pair.length, **pair.its)
    mine, its = ask(ours, batch, sizes), ask(verls, batch, sizes)
    assert float(its.gradient.abs().max()) > 1e-3
    torch.testing.assert_close(mine.loss, its.loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mine.gradient, its.gradient, rtol=1e-6, atol=1e-6)
    if pair.verls != "gpg":
        assert mine.metrics["actor/ppo_kl"] == pytest.approx(its.metrics["actor/ppo_kl"])


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_same_correction_of_whole_responses(pair: Pair) -> None:
    batch = without_empty_rows(2)
    weights = (
        torch.rand(len(batch.mask), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        * 2
    )
    ours = of_ours(f"kpo_{pair.ours}", pair.mean, pair.length, **pair.settings)
    verls = of_verl(pair.verls, loss_agg_mode=pair.mean, loss_scale_factor=pair.length, **pair.its)
    mine, its = ask(ours, batch, weights=weights), ask(verls, batch, weights=weights)
    torch.testing.assert_close(mine.loss, its.loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mine.gradient, its.gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_verl_that_names_no_sizes_means_the_batch_at_hand(pair: Pair) -> None:
    batch = without_empty_rows(3)
    config = of_ours(f"kpo_{pair.ours}", pair.mean, pair.length, **pair.settings)
    sizes = {"global_batch_size": len(batch.mask), "batch_num_tokens": int(batch.mask.sum())}
    torch.testing.assert_close(ask(config, batch)[:2], ask(config, batch, sizes)[:2])
