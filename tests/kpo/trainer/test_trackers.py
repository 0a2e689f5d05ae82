"""What trackers are told of a run: tags, its own run again after an interruption, no step twice."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest

from kpo.common.cli import UserError
from kpo.config.builds import check_tracker
from kpo.config.experiment import load_experiment
from kpo.config.train import Train
from kpo.trainer.log import RunLog
from kpo.trainer.trackers import TRACKERS, Tracked, Unharmed, tag
from tests.configs import REPO

REMOTE = ("wandb", "trackio")


class WandbError(Exception):
    """Stands for wandb.Error."""


class Server:
    """Runs by name, each a list of (step, values): what both packages keep, in few lines.

    `offline` holds what W&B has written for later.
    """

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.offline: list[list[tuple[int, dict[str, float]]]] = []
        self.asked: list[dict[str, Any]] = []
        self.ended: list[Any] = []
        self.key, self.up, self.full, self.held = True, True, False, False

    def init(self, **asked: Any) -> SimpleNamespace:
        self.asked.append(asked)
        rows: list[tuple[int, dict[str, float]]] = []
        if self.held:
            raise WandbError("run ID kpo-s0 is in use")
        if asked.get("mode") == "offline":
            self.offline.append(rows)
        elif not self.up:
            self.held = True
            raise WandbError("no such host\nraise init_timeout")
        elif asked.get("resume") == "allow":
            rows = self.runs.setdefault(asked["name"], rows)
        else:
            self.runs[asked["name"]] = rows
        first = max((step for step, _ in rows), default=-1) + 1
        return SimpleNamespace(
            log=lambda values, step: self.log(rows, step, values),
            finish=lambda exit_code=None: self.ended.append(exit_code),
            starting_step=first,
            _next_step=first,
        )

    def teardown(self) -> None:
        self.held = False

    def log(self, rows: list[tuple[int, dict[str, float]]], step: int, values: Any) -> None:
        if self.full:
            raise OSError("disk full")
        rows.append((step, values))

    def steps(self, name: str = "kpo-s0") -> list[int]:
        return [step for step, _ in self.runs[name]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server behind stand-ins of both packages."""
    found = Server()
    for name in REMOTE:
        package = ModuleType(name)
        package.__dict__.update(init=found.init, Error=WandbError, Settings=dict)
        package.__dict__["teardown"] = found.teardown
        package.__dict__["login"] = lambda *, prompt, verify: found.key and not prompt | verify
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., RunLog]:
    """The log of a run as it starts, one after the other."""

    def started(tracker: str, experiment: str = "tiny") -> RunLog:
        told = Tracked(experiment, "kpo-s0", "kpo", {"seed": 0}, tmp_path)
        return RunLog(tmp_path / "unfinished", Unharmed(tracker, told))

    return started


def take(log: RunLog, *steps: int) -> None:
    for step in steps:
        log.step(step, {"reward": step / 10, "ess_raw": 1.0})


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("reward", "reward"),
        ("response_tokens", "response"),
        ("ratio_raw_q50", "ratio"),
        ("ess_used", "ratio"),
        ("kl_old", "ratio"),
        ("switch_large_raw", "ratio"),
        ("logprob_mismatch_max", "engine"),
        ("noise_clip_fraction", "noise"),
        ("clip_fraction", "objective"),
        ("of_a_stranger", "objective"),
        ("grad_norm", "update"),
    ],
)
def test_tags_are_grouped(name: str, group: str) -> None:
    assert tag(name) == f"{group}/{name}"


def test_tensorboard_shows_every_value_under_its_tag(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415
        EventAccumulator,
    )

    with RunLog(tmp_path) as log:
        log.begin()
        with log.phase("update"):
            pass
        take(log, 0, 1)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"reward/reward", "ratio/ess_raw", "seconds/update"}
    assert [(e.step, round(e.value, 6)) for e in events.Scalars("reward/reward")] == [
        (0, 0),
        (1, 0.1),
    ]


@pytest.mark.parametrize("tracker", REMOTE)
def test_a_run_has_its_own_name_and_settings_in_its_experiments_project(
    server: Server, log: Callable[..., RunLog], tracker: str
) -> None:
    for experiment in ("tiny", "clip"):
        with log(tracker, experiment) as started:
            started.begin()
            take(started, 0)
    first, second = server.asked
    assert (first["project"], second["project"]) == ("kpo-tiny", "kpo-clip")
    assert first["name"] == first.get("id", "kpo-s0") == "kpo-s0"
    assert first["group"] == "kpo"
    assert first["config"] == {"seed": 0}
    assert server.runs["kpo-s0"] == [(0, {"reward/reward": 0.0, "ratio/ess_raw": 1.0})]


@pytest.mark.parametrize("tracker", REMOTE)
def test_a_resumed_run_goes_on_in_its_own_and_logs_no_step_twice(
    server: Server, log: Callable[..., RunLog], tracker: str
) -> None:
    with pytest.raises(KeyboardInterrupt), log(tracker) as started:
        started.begin()
        take(started, 0, 1, 2, 3)
        raise KeyboardInterrupt
    with log(tracker) as again:
        again.begin(started.rows[:2])  # of the newest checkpoint
        take(again, 2, 3, 4)
    assert server.steps() == [0, 1, 2, 3, 4]
    assert server.ended == ([1, 0] if tracker == "wandb" else [None, None])


@pytest.mark.parametrize("tracker", REMOTE)
def test_a_run_that_starts_anew_does_not_go_on_in_the_old_one(
    server: Server, log: Callable[..., RunLog], tracker: str
) -> None:
    for steps in (5, 2):
        with log(tracker) as started:
            started.begin()
            take(started, *range(steps))
    assert server.steps() == [0, 1]


@pytest.mark.parametrize("why", ["no key", "no network", "asked for"])
def test_wandb_offline_is_one_whole_run_however_often_it_was_resumed(
    server: Server,
    log: Callable[..., RunLog],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    why: str,
) -> None:
    server.key, server.up = why != "no key", why != "no network"
    if why == "asked for":
        monkeypatch.setenv("WANDB_MODE", "offline")
    with log("wandb") as started:
        started.begin()
        take(started, 0, 1)
    (tmp_path / "wandb/offline-run-1").mkdir(parents=True)
    with log("wandb") as again:
        again.begin(started.rows[:1])
        take(again, 1, 2)
    assert [step for step, _ in server.offline[-1]] == [0, 1, 2]
    assert not (tmp_path / "wandb/offline-run-1").exists()  # else `wandb sync` sends steps twice
    assert ("tracked offline" in capsys.readouterr().err) == (why != "asked for")


@pytest.mark.parametrize("tracker", REMOTE)
def test_a_tracker_that_fails_ends_no_training(
    server: Server, log: Callable[..., RunLog], capsys: pytest.CaptureFixture[str], tracker: str
) -> None:
    with log(tracker) as started:
        started.begin()
        take(started, 0)
        server.full = True
        take(started, 1, 2)
    assert [step for step, *_ in started.rows] == [0, 1, 2]
    said = capsys.readouterr().err
    assert said.count(f"warning: tracker {tracker}: disk full; this run is tracked no further") == 1


def test_ranks_that_write_nothing_track_nothing(server: Server, tmp_path: Path) -> None:
    told = Tracked("tiny", "kpo-s0", "kpo", {}, tmp_path)
    with RunLog(None, Unharmed("wandb", told)) as log:
        log.begin()
        take(log, 0)
    assert not server.asked


def test_every_name_of_the_settings_is_a_tracker() -> None:
    names = get_args(Train.model_fields["tracker"].annotation)
    assert names == ("tensorboard", *TRACKERS)


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = load_experiment(REPO / "workflow/config/tiny.yaml")
    check_tracker(experiment)
    train = experiment.train.model_copy(update={"tracker": "trackio"})
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setattr("kpo.config.builds.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train\.tracker is trackio.*pip install trackio"):
        check_tracker(experiment.model_copy(update={"train": train}))
