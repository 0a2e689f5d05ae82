"""A run on several nodes, here agents of torchrun on one machine: it trains as one process does."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kpo.nodes import free_port
from kpo.trainer.guards.preemption import PREEMPTED_EXIT_CODE
from tests.kpo.processes import on_ranks
from tests.kpo.trainer.runs import metrics
from tests.kpo.trainer.sharded_run import train
from tests.patience import FAR_S, until

pytestmark = pytest.mark.slow
Agents = list[subprocess.Popen[str]]


def agents(folder: Path, **settings: Any) -> Agents:
    """Two nodes' agents, of one process each, that train a small run."""
    run = ["-m", "tests.kpo.trainer.sharded_run", str(folder)]
    settings = {"ranks": 1, "nodes": 2, "checkpoint_every": 100, **settings}
    launcher = [sys.executable, "-m", "kpo.nodes", "--rendezvous", f"localhost:{free_port()}"]
    command = [*launcher, "2", "1", *run, json.dumps(settings)]
    return [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]


def codes(started: Agents) -> list[int]:
    return [agent.wait(FAR_S) for agent in started]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    started = agents(folder)
    assert codes(started) == [0, 0], [agent.communicate() for agent in started]
    return folder


def test_two_nodes_train_as_one_process(whole: Path, tmp_path: Path) -> None:
    on_ranks(1, train, tmp_path, {})
    for one, two in zip(metrics(tmp_path), metrics(whole), strict=True):
        for name in ("loss", "reward", "response_tokens", "entropy", "clip_fraction", "grad_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_goes_on_from_where_one_node_left_it(
    number: signal.Signals, whole: Path, tmp_path: Path
) -> None:
    started = agents(tmp_path, endless_after=2, endless_ranks=[0])
    until((tmp_path / "endless-0").exists, lambda: all(agent.poll() is None for agent in started))
    first = int((tmp_path / "launcher-0").read_text())
    started.sort(key=lambda agent: agent.pid != first)
    started[0].send_signal(number)
    ended = codes(started)
    if number == signal.SIGTERM:
        assert ended == [PREEMPTED_EXIT_CODE] * 2
    else:  # its process saves, with that of the other
        assert ended[0] == -signal.SIGKILL
        assert ended[1] != 0
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]
    assert codes(agents(tmp_path)) == [0, 0]
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (tmp_path / file).read_bytes() == (whole / file).read_bytes()


def test_a_node_that_waits_for_the_others_leaves_when_it_is_told() -> None:
    port = free_port()
    place = ["--rendezvous", f"localhost:{port}"]
    command = [sys.executable, "-m", "kpo.nodes", *place, "2", "1", "-c", "pass"]
    agent = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("localhost", port)) == 0

    until(listens, lambda: agent.poll() is None)
    agent.terminate()
    assert agent.wait(FAR_S) == PREEMPTED_EXIT_CODE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2", "1", "-c", "pass"], "nothing starts a run on 2 nodes here"),
        (["1", "1", "-c", "pass"], "1 nodes with 1 processes each: at least 2 and 1"),
        (["2", "1"], "command is missing"),
    ],
)
def test_what_cannot_be_started_is_said(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    command = [sys.executable, "-m", "kpo.nodes", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
