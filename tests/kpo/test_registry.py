"""Names and settings: what is refused, and what an absent setting means."""

import math

import pytest
import torch

from kpo.registry import OBJECTIVES, make_objective
from tests.kpo.cases import loss_and_gradient, random_batch
from tests.kpo.oracles import DEFAULT_CLIP

NAMES = ["kpo", "grpo", "token_clipped", "gspo", "gmpo"]
RATIO_CLIPPED = ["kpo", "grpo", "token_clipped", "gspo"]
Settings = dict[str, float | None]


def needed(name: str) -> Settings:
    """The settings a method cannot do without."""
    return {"q": 1e-6} if name == "kpo" else {}


@pytest.mark.parametrize("name", ["", "KPO", "ppo", "kpo "])
def test_unknown_name_lists_the_names(name: str) -> None:
    with pytest.raises(ValueError) as error:
        make_objective(name)
    for known in NAMES:
        assert known in str(error.value)


def test_a_class_without_the_decorator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        clip_low = 0.1

    monkeypatch.setitem(OBJECTIVES, "plain", Plain)
    with pytest.raises(ValueError, match="objective plain: Plain must be a dataclass"):
        make_objective("plain", clip_low=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_setting_lists_the_settings(name: str) -> None:
    with pytest.raises(ValueError, match="clip_hgih") as error:
        make_objective(name, **needed(name), clip_hgih=0.2)
    for known in ("clip_low", "clip_high", *needed(name)):
        assert known in str(error.value)


@pytest.mark.parametrize("setting", ["q", "memory"])
@pytest.mark.parametrize("name", ["grpo", "token_clipped", "gspo", "gmpo"])
def test_a_filter_setting_is_refused_where_nothing_is_filtered(name: str, setting: str) -> None:
    with pytest.raises(ValueError, match=rf"\b{setting}\b"):
        make_objective(name, **{setting: 2.0})


@pytest.mark.parametrize("settings", [{}, {"q": 1e-2, "memory": 12.0}])
def test_kpo_wants_exactly_one_of_q_and_memory(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"\bq\b.*\bmemory\b|\bmemory\b.*\bq\b"):
        make_objective("kpo", **settings)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("q", bad) for bad in (0.0, -1.0, math.nan, math.inf)]
    + [("memory", bad) for bad in (1.0, 0.0, -2.0, math.nan, math.inf)],
)
def test_filter_setting_out_of_bounds(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"\b{setting}\b"):
        make_objective("kpo", **{setting: value})


@pytest.mark.parametrize("value", [-0.1, math.nan])
@pytest.mark.parametrize("setting", ["clip_low", "clip_high"])
@pytest.mark.parametrize("name", NAMES)
def test_clip_out_of_bounds(name: str, setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=setting):
        make_objective(name, **needed(name), **{setting: value})


@pytest.mark.parametrize("name", RATIO_CLIPPED)
def test_a_ratio_cannot_be_clipped_at_zero_or_below(name: str) -> None:
    with pytest.raises(ValueError, match="clip_low"):
        make_objective(name, **needed(name), clip_low=1.0)


def test_gmpo_clips_logarithms_so_its_clip_may_exceed_one() -> None:
    make_objective("gmpo", clip_low=1.5, clip_high=2.0)


@pytest.mark.parametrize("setting", ["clip_low", "clip_high"])
@pytest.mark.parametrize("name", NAMES)
def test_one_clip_alone_cannot_be_none(name: str, setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        make_objective(name, **needed(name), **{setting: None})


@pytest.mark.parametrize("name", NAMES)
def test_default_clips_are_the_papers(name: str) -> None:
    low, high = DEFAULT_CLIP[name]
    batch = random_batch(seed=3)
    default = loss_and_gradient(make_objective(name, **needed(name)), batch)[1]
    explicit = make_objective(name, **needed(name), clip_low=low, clip_high=high)
    assert torch.equal(default, loss_and_gradient(explicit, batch)[1])
