"""Small trainings whose weights are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from kpo.estimators.frozen import Recorder
from kpo.trainer.loop import Trainer
from tests.kpo.trainer.runs import tiny_trainer


def recorded(folder: Path, ages: Sequence[int], **settings: Any) -> Recorder:
    """A training that is done: 3 steps of 2 updates, unless settings say otherwise."""
    trainer = tiny_trainer(folder, **{"warm_up": 0.0, **settings})
    recorder = Recorder(**{f.name: getattr(trainer, f.name) for f in fields(Trainer)}, ages=ages)
    recorder.record(lambda step: None)
    return recorder
