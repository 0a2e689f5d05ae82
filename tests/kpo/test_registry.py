"""Names and settings: what is refused, and what an absent setting means."""

import math
import subprocess
import sys
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Literal

import pytest
import torch

from kpo.baselines.grpo import GRPO
from kpo.objective import role_of
from kpo.registry import OBJECTIVES, make_objective, setting_names, settings_of
from tests.kpo.cases import loss_and_gradient, random_batch
from tests.kpo.oracles import DEFAULT_CLIP

RATIO_CLIPPED = ["kpo", "grpo", "token_clipped", "gspo", "dapo", "dr_grpo", "fipo"]
NAMES = [*RATIO_CLIPPED, "gmpo"]  # those with a clip of two sides
Settings = dict[str, float | None]


def needed(name: str) -> Settings:
    """The settings a method cannot do without."""
    found: dict[str, Settings] = {"kpo": {"q": 1e-6}, "dr_grpo": {"length": 20}}
    return found.get(name, {})


@pytest.mark.parametrize("name", ["", "KPO", "ppo", "kpo "])
def test_unknown_name_lists_the_names(name: str) -> None:
    with pytest.raises(ValueError) as error:
        make_objective(name)
    for known in NAMES:
        assert known in str(error.value)


def test_no_objective_needs_torch_before_it_is_called() -> None:
    code = "import sys, kpo.registry as r; r.make_objective('kpo', q=1e-6); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_roles_of_the_suites_objectives() -> None:
    roles = {name: role_of(made) for name, made in OBJECTIVES.items()}
    assert roles == dict.fromkeys(OBJECTIVES, "baseline") | {
        "kpo": "proposed",
        "token_clipped": "control",
    }


@dataclass(frozen=True, kw_only=True)
class Typed(GRPO):
    """Settings that are no numbers."""

    tau: float
    start: Literal["known", "unknown"] = "known"
    deep: bool | None = None
    times: int = 1


@pytest.fixture
def _typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "typed", Typed)


@pytest.mark.usefixtures("_typed")
def test_settings_of_all_kinds() -> None:
    made = make_objective("typed", tau=1, start="unknown", deep=False)
    assert role_of(made) == "baseline"  # it says nothing, GRPO does
    assert settings_of(made) == {
        **{"clip_low": 0.2, "clip_high": 0.2},
        **{"tau": 1, "start": "unknown", "deep": False, "times": 1},
    }
    names = setting_names()
    assert names[:4] == ["q", "memory", "clip_low", "clip_high"]
    assert names[-3:] == ["tau", "deep", "times"]  # KPO has a start, too
    assert len(set(names)) == len(names)


@pytest.mark.usefixtures("_typed")
@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("tau", "0.1", "tau is '0.1', but must be a valid number"),
        ("tau", True, "tau is True, but must be a valid number"),
        ("tau", None, "tau is None, but must be a valid number"),
        ("clip_low", [0.2], r"clip_low is \[0.2\], but must be a valid number"),
        ("start", "late", "start is 'late', but must be 'known' or 'unknown'"),
        ("deep", 1, "deep is 1, but must be a valid boolean"),
        ("times", 1.5, "times is 1.5, but must be a valid integer"),
    ],
)
def test_a_setting_of_another_kind(setting: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"objective typed: {words}"):
        make_objective("typed", **{"tau": 0.1, setting: value})


@pytest.mark.usefixtures("_typed")
def test_a_setting_that_must_be_given() -> None:
    with pytest.raises(ValueError, match=r"objective typed: .*'tau'"):
        make_objective("typed")


@pytest.mark.parametrize("taken", ["role", "label", "objective"])
def test_a_setting_that_an_experiment_file_could_not_set(
    taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_dataclass("Own", [(taken, str, field(default="control"))])
    monkeypatch.setitem(OBJECTIVES, "own", made)
    with pytest.raises(ValueError, match=f"objective own: Own must not have a setting '{taken}'"):
        make_objective("own")


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
