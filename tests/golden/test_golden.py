"""The committed traces are today's, and another run's would not pass for one."""

import json
from pathlib import Path

import pytest

from kpo.registry import OBJECTIVES
from tests.golden import traces
from tests.golden.traces import MADE_ON, TRACES, Trace, committed, differences, machine, make


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_as_committed(tmp_path: Path, name: str) -> None:
    exact = json.loads(MADE_ON.read_text()) == machine()
    assert differences(committed(name), make(name, tmp_path), exact=exact) == []


def test_every_registered_objective_has_a_trace() -> None:
    assert {trace.objective for trace in TRACES.values()} == OBJECTIVES.keys()


def test_elsewhere_a_slightly_other_run_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(traces.TRACES, "grpo", Trace("grpo", train={"betas": (0.81, 0.95)}))
    assert differences(committed("grpo"), make("grpo", tmp_path), exact=False)


@pytest.mark.parametrize(
    ("was", "now", "exact", "sentence"),
    [
        ({"loss": 1.0}, {"loss": 1.0 + 1e-9}, True, "step 0: loss was 1.0 and is 1.000000001"),
        ({"loss": 1.0}, {"loss": 1.0 + 1e-9}, False, None),
        ({"loss": 1.0}, {"loss": 1.001}, False, "step 0: loss was 1.0 and is 1.001"),
        ({"reward": 0.5}, {"reward": 0.503}, False, None),
        ({"reward": 0.5}, {"reward": 0.52}, False, "step 0: reward was 0.5 and is 0.52"),
        ({"loss": 1.0}, {}, False, "step 0: loss was 1.0 and is absent"),
        ({}, {"loss": 1.0}, False, "step 0: loss was absent and is 1.0"),
    ],
)
def test_what_counts_as_different(
    was: dict[str, float], now: dict[str, float], *, exact: bool, sentence: str | None
) -> None:
    assert differences([was], [now], exact=exact) == ([sentence] if sentence else [])


def test_another_number_of_steps_is_different() -> None:
    assert differences([{}], [{}, {}], exact=True) == ["1 steps became 2"]
