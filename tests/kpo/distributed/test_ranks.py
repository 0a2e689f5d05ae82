"""How processes meet: the time that they wait for each other, and the GPUs that they hold."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from kpo.distributed import leases
from kpo.distributed.ranks import join


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the process group is asked for, by the second of two processes that see two GPUs."""
    asked: dict[str, Any] = {}

    def init_process_group(backend: str, **settings: Any) -> None:
        asked.update(settings, backend=backend)

    monkeypatch.setattr("torch.distributed.init_process_group", init_process_group)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: asked.update(device=device))
    monkeypatch.delenv(leases.LEASE, raising=False)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    return asked


@pytest.mark.parametrize(("gpus", "ranks", "backend"), [(2, 1, "nccl"), (0, 2, "gloo")])
def test_ranks_wait_for_each_other_longer_than_the_watchdog(
    met: dict[str, Any], gpus: int, ranks: int, backend: str
) -> None:
    assert join(gpus=gpus, ranks=ranks, stall_s=5000.0).rank == 1
    assert met["backend"] == backend
    assert 5000 < met["timeout"].total_seconds() < 6000
    assert str(met["device_id"]) == ("cuda:1" if gpus else "None")


def test_a_rank_holds_its_gpus_as_long_as_it_lives(
    met: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOCKS", tmp_path)
    monkeypatch.setenv(leases.LEASE, "GPU-a,GPU-b")
    join(gpus=2, ranks=1, stall_s=1.0)
    assert str(met["device"]) == "cuda:1"
    for name in ("GPU-a", "GPU-b"):
        with (tmp_path / name).open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
