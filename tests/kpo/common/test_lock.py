"""One process makes a thing at a time, and whoever dies lets go of it."""

import errno
import fcntl
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kpo.common.cli import UserError
from kpo.common.lock import hold, lent

HOLDER = """
import os, sys, time
from pathlib import Path
from kpo.common.lock import hold
hold(Path(sys.argv[1]))
child = os.fork() if sys.argv[2:] else "held"
if child == 0:
    time.sleep(3600)
print(child, flush=True)
sys.stdin.read()
"""


def holder(path: Path, *more: str) -> subprocess.Popen[str]:
    """Another process, which holds `path` until its stdin closes."""
    command = [sys.executable, "-c", HOLDER, str(path), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_process_is_refused_in_one_sentence(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "grpo-s0"
    with holder(run) as first:
        assert first.stdout
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError) as error:
            hold(run)
        assert str(error.value).startswith(f"{run}: another process makes it (process {first.pid}")
        assert "\n" not in str(error.value)
        hold(tmp_path / "runs" / "gspo-s0")  # another run is free
        first.communicate("")
    hold(run)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_lock_goes_with_its_owner_though_a_child_lives_on(
    tmp_path: Path, by: signal.Signals
) -> None:
    with holder(tmp_path / "run", "child") as first:
        assert first.stdout
        child = int(first.stdout.readline())
        try:
            first.send_signal(by)
            first.wait()
            hold(tmp_path / "run")
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    hold(tmp_path / "run")
    assert "run cannot be locked here (No locks available)" in capsys.readouterr().err


def test_what_is_lent_is_free_and_free_again_behind_the_block(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    with holder(path) as first:
        assert first.stdout
        first.stdout.readline()
        with lent(path) as free:
            assert not free
        first.communicate("")
    with lent(path) as free:
        assert free
        with holder(path) as second:  # refused, with a traceback
            assert second.wait() == 1
    with holder(path) as third:
        assert third.stdout
        assert third.stdout.readline() == "held\n"
        third.communicate("")


def test_who_waits_holds_it_when_its_owner_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    first = holder(path)
    assert first.stdout
    first.stdout.readline()
    program = (
        "from pathlib import Path; from kpo.common.lock import hold;"
        f" hold(Path({str(path)!r}), wait=True)"
    )
    waiting = subprocess.Popen([sys.executable, "-c", program])
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=0.5)
    first.communicate("")
    assert waiting.wait() == 0


COMMANDS = {
    "kpo.base": ["--config", "workflow/config/mini.yaml"],
    "kpo.train": ["--config", "workflow/config/mini.yaml", "--method", "grpo", "--seed", "0"],
    "evals.sample": ["--config", "workflow/config/mini.yaml", "--run", "base"],
    "evals.benchmarks": ["--config", "workflow/config/mini.yaml"],
    "evals.grade": ["--samples", "samples.jsonl"],
}
MODELS = {"kpo.train": "--base", "evals.sample": "--model"}


@pytest.mark.parametrize("module", COMMANDS)
def test_every_long_command_is_alone_and_leaves_the_others_files(
    tmp_path: Path,
    module: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "unfinished").mkdir()
    (tmp_path / ".out.partial").mkdir()
    before = sorted(tmp_path.rglob("*"))
    model = [MODELS[module], str(tmp_path)] if module in MODELS else []
    command = [module, *COMMANDS[module], *model, "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    with holder(out) as first:
        assert first.stdout
        first.stdout.readline()
        main = importlib.import_module(module).main
        try:
            code = main()
        except SystemExit as stop:
            code = stop.code
        first.communicate("")
    assert code == 2
    error = capsys.readouterr().err
    assert "out: another process makes it" in error
    assert error.count("\n") == 1
    assert sorted(set(tmp_path.rglob("*")) - {tmp_path / ".out.lock"}) == before
