"""Trackers: where the curves of a run can be looked at while it trains.

TensorBoard's events are always written, into the run's folder. `train.tracker` names one more:
a run of W&B or Trackio, in the project `kpo-<experiment>`, that has the run's own name. A run that
goes on from a checkpoint goes on there too, and no step is logged twice.

Training depends on none of them. Without a network W&B writes to `<run>/wandb`, for `wandb sync`.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from torch.utils.tensorboard import SummaryWriter

from kpo.common.cli import warn

GROUPS = {
    "reward": "reward",
    "zero_std_groups": "reward",
    **dict.fromkeys(("response_tokens", "truncated", "no_answer", "entropy"), "response"),
    **dict.fromkeys(("timeout", "error"), "grading"),
    **dict.fromkeys(("loss", "grad_norm", "lr"), "update"),
}
"""Where the metrics stand that no prefix tells; an objective's own are under `objective`."""
PREFIXES = {
    **dict.fromkeys(("ratio_", "ess_", "kl_", "switch_"), "ratio"),
    "logprob_mismatch_": "engine",
    "noise_": "noise",
}
INIT_S, FINISH_S = 30.0, 60.0
"""How long a run waits for W&B's server at its start and at its end."""


def tag(name: str) -> str:
    """The name of a metric under its group, as `ratio/ess_raw`."""
    prefixed = (group for prefix, group in PREFIXES.items() if name.startswith(prefix))
    return f"{GROUPS.get(name) or next(prefixed, 'objective')}/{name}"


def tagged(metrics: Mapping[str, float], seconds: Mapping[str, float]) -> dict[str, float]:
    """A step's values by tag."""
    times = {f"seconds/{name}": value for name, value in seconds.items()}
    return {tag(name): value for name, value in metrics.items()} | times


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run.

    Attributes:
        name: `<method>-s<seed>`.
        group: runs that differ only in their seeds share it.
        settings: all that the run depends on.
        folder: of the run.
    """

    experiment: str
    name: str
    group: str
    settings: Mapping[str, Any]
    folder: Path

    @property
    def project(self) -> str:
        """One for each experiment, so that two runs of the same name do not meet."""
        return f"kpo-{self.experiment}"


class Tracker(Protocol):
    """A run of a tracker; leaving the block ends it, with an exception as one that failed."""

    first: int
    """Steps before this one are there already."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step's values, by tag."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class TensorBoard:
    """Events in a folder, which is written anew."""

    def __init__(self, folder: Path) -> None:
        self.first, self.writer = 0, SummaryWriter(str(folder))

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step's values, by tag."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()


class Wandb:
    """A run whose id is its name; without a key or a server, one that `wandb sync` sends later.

    A run on the server is gone on with. One that is only here is written anew, with all steps.
    """

    def __init__(self, run: Tracked, resumed: bool) -> None:
        self.wandb = importlib.import_module("wandb")
        shutil.rmtree(run.folder / "wandb", ignore_errors=True)
        self.run = self._online(run, resumed) or self._init(run, mode="offline")
        self.first = int(self.run.starting_step)

    def _online(self, run: Tracked, resumed: bool) -> Any:
        """The run on the server; None where it cannot be reached, or is not wanted."""
        if os.environ.get("WANDB_MODE", "online") != "online":
            return None
        try:
            if self.wandb.login(prompt=False, verify=False):
                return self._init(run, mode="online", resume="allow" if resumed else None)
            warn("W&B has no key here (wandb login): the run is tracked offline")
        except self.wandb.Error as error:
            reason = str(error).partition("\n")[0]
            warn(f"W&B cannot be reached, so the run is tracked offline: {reason}")
            self.wandb.teardown()  # or its service holds the run's id for what has failed
            shutil.rmtree(run.folder / "wandb", ignore_errors=True)
        return None

    def _init(self, run: Tracked, **how: Any) -> Any:
        settings = {"console": "off", "save_code": False, "disable_git": True}
        limits = {"init_timeout": INIT_S, "finish_timeout": FINISH_S}
        return self.wandb.init(
            project=run.project,
            id=run.name,
            name=run.name,
            group=run.group,
            config=dict(run.settings),
            dir=str(run.folder),
            settings=self.wandb.Settings(**settings, **limits),
            **how,
        )

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step's values, by tag."""
        self.run.log(dict(values), step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.run.finish(exit_code=int(kind is not None))


class Trackio:
    """A run in Trackio's database on this machine, or in the Space that its variables name."""

    def __init__(self, run: Tracked, resumed: bool) -> None:
        trackio = importlib.import_module("trackio")
        self.run = trackio.init(
            project=run.project,
            name=run.name,
            group=run.group,
            config=dict(run.settings),
            resume="allow" if resumed else "never",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        self.first = int(self.run._next_step)  # not told otherwise

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step's values, by tag."""
        self.run.log(dict(values), step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run.finish()


TRACKERS: dict[str, Callable[[Tracked, bool], Tracker]] = {"wandb": Wandb, "trackio": Trackio}
"""Beside TensorBoard, by `train.tracker`, which is also the package that each needs.

The second argument says whether training goes on from a checkpoint.
"""


class Unharmed:
    """A tracker whose failure ends no training: it is said, and the tracker left out from then."""

    def __init__(self, name: str, run: Tracked) -> None:
        self.name, self.run = name, run
        self.tracker: Tracker | None = None

    def open(self, *, resumed: bool) -> None:
        """Start, or go on with, the tracker's run."""
        self.tracker = self._tried(lambda: TRACKERS[self.name](self.run, resumed))

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step's values, by tag, unless they are there."""
        if (tracker := self.tracker) is not None and step >= tracker.first:
            self._tried(lambda: tracker.step(step, values))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if (tracker := self.tracker) is not None:
            self._tried(lambda: tracker.__exit__(kind, error, trace))

    def _tried(self, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except Exception as error:  # whatever goes wrong in another's package or on its server
            warn(f"tracker {self.name}: {error}; this run is tracked no further")
            self.tracker = None
            return None
