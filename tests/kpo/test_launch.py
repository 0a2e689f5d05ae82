"""The launcher hands on signals and exit codes, and no process outlives it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kpo.trainer.guards.preemption import PREEMPTED_EXIT_CODE
from tests.kpo.processes import on_ranks
from tests.kpo.trainer.sharded_run import train
from tests.patience import until

pytestmark = pytest.mark.slow

READY = "import os, pathlib, signal, sys, time; rank = int(os.environ['RANK']);"
TOUCH = "pathlib.Path(sys.argv[1], f'ready-{rank}').write_text(str(os.getpid()));"


def start(count: int, program: str, *args: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kpo.launch", str(count), "-c", READY + program, *args]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def pids(folder: Path, count: int) -> list[int]:
    """Of the processes, as soon as all have said that they are ready."""
    files = [folder / f"ready-{rank}" for rank in range(count)]
    until(lambda: all(file.is_file() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(75 if rank else 0)", PREEMPTED_EXIT_CODE),
        # the others wait for the one that failed, and are ended
        ("sys.exit(2) if rank else time.sleep(3600)", 2),
        ("os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(3600)", 137),
    ],
)
def test_the_exit_code_is_the_first_failures(program: str, code: int) -> None:
    assert start(2, program).wait() == code


def test_sigterm_reaches_every_process_and_all_may_take_their_time(tmp_path: Path) -> None:
    program = (
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1.0 + rank), sys.exit(75)));"
        # in naps, as a signal that comes just before a sleep does not shorten it
        f"{TOUCH} any(time.sleep(0.05) for _ in iter(int, 1))"
    )
    launcher = start(3, program, str(tmp_path))
    processes = pids(tmp_path, 3)
    launcher.terminate()
    assert launcher.wait() == PREEMPTED_EXIT_CODE
    assert all(map(gone, processes))


def test_no_process_outlives_a_launcher_that_is_killed(tmp_path: Path) -> None:
    launcher = start(2, f"{TOUCH} time.sleep(3600)", str(tmp_path))
    processes = pids(tmp_path, 2)
    launcher.kill()
    launcher.wait()
    until(lambda: all(map(gone, processes)))


def test_one_that_does_not_end_is_killed() -> None:
    program = (
        "from kpo import launch; launch.SHUTDOWN_S = 1.0;"
        "raise SystemExit(launch.launch(2, ['-c', '''import os, signal, sys, time\n"
        "if os.environ['RANK'] == '0': sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "time.sleep(3600)''']))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 3


@pytest.mark.parametrize("arguments", [["0", "-c", "pass"], ["2"], []])
def test_what_cannot_be_started_is_said(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kpo.launch", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error:" in done.stderr


@pytest.mark.slow
def test_sigterm_in_a_phase_without_end_saves_under_two_ranks(tmp_path: Path) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    settings = {"steps": 3, "checkpoint_every": 100}

    def run(**more: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "kpo.launch", "2", "-m", "tests.kpo.trainer.sharded_run"]
        return subprocess.Popen(
            [*command, str(parts), json.dumps({"ranks": 2, **settings, **more})]
        )

    launcher = run(endless_after=2)
    until((parts / "endless-1").exists, lambda: launcher.poll() is None)
    launcher.terminate()
    assert launcher.wait() == PREEMPTED_EXIT_CODE
    assert [path.name for path in (parts / "checkpoints").iterdir()] == ["step-000002"]
    assert run().wait() == 0
    whole.mkdir()
    on_ranks(2, train, whole, settings)
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes()
