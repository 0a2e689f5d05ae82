"""What losses are means over, and that the trainer divides by what objectives count."""

from typing import Any

import pytest
import torch

from kpo.baselines.grpo import GRPO
from kpo.baselines.gspo import GSPO
from kpo.filtered_ratio import KPO
from kpo.objective import MeanOver, Objective, denominator, role_of
from tests.kpo.cases import METHODS, loss_and_gradient, random_batch, rows_of
from tests.kpo.means import MEANS


def of(kind: type[Any], over: MeanOver) -> Objective:
    """The objective, but as a mean over something else."""
    settings = {"q": 1e-2} if kind is KPO else {}
    made: Objective = type("Other", (kind,), {"mean_over": over})(**settings)
    return made


@pytest.mark.parametrize("kind", [GRPO, GSPO, KPO])
@pytest.mark.parametrize("over", ["tokens", 16])
def test_without_the_mean_over_its_tokens_a_response_counts_as_often_as_it_has_tokens(
    kind: type[Any], over: MeanOver
) -> None:
    batch = random_batch(seed=17)
    output, gradient = loss_and_gradient(of(kind, over), batch)
    lengths = batch.mask.sum(1).tolist()
    assert len(set(lengths)) > 2
    loss = 0.0
    for row, length in enumerate(lengths):
        alone = rows_of(batch, torch.tensor([row]))
        mean, mean_gradient = loss_and_gradient(of(kind, "responses"), alone)
        loss += length * float(mean.loss)
        found = gradient[row, : mean_gradient.shape[1]]
        torch.testing.assert_close(found, length * mean_gradient[0])
    assert float(output.loss) == pytest.approx(loss, rel=1e-9)
    tokens, responses = sum(lengths), sum(length > 0 for length in lengths)
    assert int(output.count) == (tokens if over == "tokens" else 16 * responses)


OBJECTIVES = {method.label: method.build() for method in METHODS} | MEANS


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_trainer_divides_by_what_the_objective_counts(name: str) -> None:
    """From the lengths alone, one of which is 0, before any part of the batch is scored."""
    batch = random_batch(seed=18)
    lengths = batch.mask.sum(1).tolist()
    assert 0 in lengths
    assert denominator(OBJECTIVES[name], lengths) == int(OBJECTIVES[name](batch).count)


def test_an_objective_that_says_nothing_is_a_baseline() -> None:
    assert role_of(object()) == "baseline"
