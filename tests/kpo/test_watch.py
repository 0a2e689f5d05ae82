"""The command that shows a pipeline: what it prints, and how it starts one."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kpo import watch
from tests.configs import REPO

NOW = time.strftime("[%a %b %d %H:%M:%S %Y]")
LOG = f"""Provided cores: 2
Job stats:
job      count
-----  -------
base         1
train        3
total        4

{NOW}
localrule base:
    jobid: 1
{NOW}
Finished jobid: 1 (Rule: base)
{NOW}
localrule train:
    log: results/tiny/logs/train/kpo-s0.log
    jobid: 2
    wildcards: method=kpo, seed=0
"""
BAR = "train:  45%|##4   | 9/20 [00:10<01:12,  1.10s/step, reward=0.45]\r"
SCRIPT = """import pathlib, sys
folder = pathlib.Path(".snakemake/log")
folder.mkdir(parents=True, exist_ok=True)
(folder / "2026-01-01.snakemake.log").write_text(pathlib.Path("log.txt").read_text())
sys.stderr.write("a [message]\\n")
sys.stderr.flush()
import time; time.sleep(2.5)
sys.exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a pipeline runs: one of three runs is at step 9 of 20."""
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "results/tiny/logs/train/kpo-s0.log"
    log.parent.mkdir(parents=True)
    log.write_text(BAR)
    os.utime(log, (time.time() + 2,) * 2)
    return tmp_path


def write_log(folder: Path, name: str, text: str) -> None:
    (folder / ".snakemake/log").mkdir(parents=True, exist_ok=True)
    (folder / f".snakemake/log/{name}.snakemake.log").write_text(text)


def test_a_run_started_elsewhere_is_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(folder, "2026-01-01", LOG)
    began = time.mktime(time.strptime(NOW, "[%a %b %d %H:%M:%S %Y]"))
    monkeypatch.setattr("time.time", lambda: began + 10)
    assert watch.main(["--once"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "tiny: 1 of 4 jobs done, 1 running, about 118 s left" in shown  # (2 x 82 + 72) / 2
    assert shown.endswith("train kpo-s0 9/20 reward=0.45 10 s 72 s")


def test_the_newest_call_is_shown_and_that_it_ended(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(folder, "2026-01-01", LOG)
    write_log(folder, "2026-01-02", "Nothing to be done\nComplete log(s): x\n")
    watch.main(["--once"])
    assert "0 of 0 jobs done; this call has ended" in capsys.readouterr().out


def test_where_nothing_was_started_it_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        watch.main(["--once"])
    assert ended.value.code == 2
    assert "error: no pipeline was started in this folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [True, False])
def test_it_starts_a_call_and_ends_as_it_ends(folder: Path, *, terminal: bool) -> None:
    (folder / "log.txt").write_text(LOG)
    (folder / "script.py").write_text(SCRIPT)
    call = [sys.executable, "-m", "kpo.watch", "--", sys.executable, "script.py"]
    own, its = pty.openpty()
    errors = its if terminal else subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(call, stderr=errors, cwd=folder, env=environment) as child:
        os.close(its)
        said = b"" if terminal else child.communicate()[1]
        while terminal:
            try:
                said += os.read(own, 4096)
            except OSError:  # closed by the child
                break
    os.close(own)
    assert child.returncode == 3
    assert b"a [message]" in said
    assert (b"9/20" in said) == (b"of 4 jobs done" in said) == terminal
