"""Where verl's losses are others than ours, as the table in kpo/integrations/README.md says."""

from __future__ import annotations

import pytest
import torch

from tests.kpo.cases import one_response

pytest.importorskip("verl", reason="verl's environment runs these: make test-integrations")
from tests.integrations.verl.actor import ask, in_parts, of_ours, of_verl, without_empty_rows

MEAN = "seq-mean-token-mean"


def test_vanilla_has_a_dual_clip() -> None:
    far = one_response([1.5, 0.0], -1.0)
    ours, verls = of_ours("kpo_grpo", MEAN), of_verl("vanilla", loss_agg_mode=MEAN)
    weight = float(torch.tensor(1.5).exp()) / 2
    assert ask(ours, far).gradient.tolist() == pytest.approx([weight, 0.5])
    assert ask(verls, far).gradient.tolist() == pytest.approx([0, 0.5])


def test_vanilla_bounds_log_ratios() -> None:
    far = one_response([25.0, 0.0], -1.0)
    ours = of_ours("kpo_grpo", MEAN)
    verls = of_verl("vanilla", loss_agg_mode=MEAN, clip_ratio_c=1e30)
    assert float(ask(ours, far).gradient[0]) == pytest.approx(3.6e10, rel=0.01)
    assert float(ask(verls, far).gradient[0]) == 0


def test_geo_mean_depends_on_the_micro_batches() -> None:
    batch = without_empty_rows(0)
    rows = range(len(batch.mask))
    ours, verls = (
        of_ours("kpo_gmpo", MEAN),
        of_verl("geo_mean", clip_ratio_low=0.4, clip_ratio_high=0.4),
    )
    together, apart = [[list(rows)]], [[[row] for row in rows]]
    mine, its = (
        [float(in_parts(config, batch, parts).gradient.norm()) for parts in (together, apart)]
        for config in (ours, verls)
    )
    assert mine[0] == pytest.approx(its[0])
    assert mine[1] == pytest.approx(mine[0])
    assert its[1] == pytest.approx(len(rows) * its[0])


def test_a_response_without_a_token_counts() -> None:
    batch = without_empty_rows(0)
    batch.mask[:6] = False
    ours = of_ours("kpo_gspo", MEAN)
    verls = of_verl("gspo", loss_agg_mode=MEAN, clip_ratio_low=3e-4, clip_ratio_high=4e-4)
    sized = [float(ask(config, batch, {"global_batch_size": 54}).loss) for config in (ours, verls)]
    assert sized[0] == pytest.approx(float(ask(ours, batch).loss) * 48 / 54)
    assert sized[1] == pytest.approx(sized[0])
