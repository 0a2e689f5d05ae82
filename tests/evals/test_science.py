"""One command for every experiment: what it says before, what it calls, where it stops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kpo.config.experiment import load_experiment
from kpo.evals import science
from kpo.planning.jobs import KINDS, read_seconds
from tests.workspace import REPO

GRIDS = ("arms", "arms-calm", "clip", "memory", "memory-long", "reuse", "staleness")
HOURS = 6
"""That all grids and the tuned comparison may take on two cores."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone."""
    (tmp_path / "workflow").symlink_to(REPO / "workflow")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What would be run."""
    made: list[Sequence[str]] = []

    def run(call: Sequence[str]) -> int:
        made.append(call)
        return 0

    monkeypatch.setattr(science, "_run", run)
    return made


def test_every_experiment_is_there_and_was_measured() -> None:
    seconds = {(row.experiment, row.job) for row in read_seconds(science.SECONDS)}
    for stage in science.STAGES:
        kinds = {"base", stage.job} if stage.job else {*KINDS} - {"shootout", "structure"}
        assert {(stage.name, kind) for kind in kinds} <= seconds
        if not stage.chosen_by:
            assert load_experiment(stage.config).experiment == stage.name
    names = {stage.name for stage in science.STAGES}
    assert {*GRIDS, "tuning", "tuned", "tiny", "tiny-offpolicy", "tiny-field"} <= names


def test_grids_and_tuning_fit_into_their_time() -> None:
    stages = [s for s in science.STAGES if s.name in (*GRIDS, "tuning", "tuned")]
    seconds = {(m.experiment, m.job): m.seconds for m in read_seconds(science.SECONDS)}
    times = [left.seconds for left in science.plan(stages, seconds, cores=2)]
    assert sum(time or 0 for time in times) < HOURS * 3600


def test_the_plan_is_said_before_anything_runs(
    calls: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert science.main(["--dry-run", "--cores", "2"]) == 0
    said = capsys.readouterr().out
    for stage in science.STAGES:
        assert f"\n{stage.name} " in f"\n{said}"
    assert "hours on 2 cores" in said
    assert "measured on x86_64" in said
    assert calls == []


def test_sums_of_a_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, seconds in (("base", 60), ("train/x", 100), ("sample/x", 10), ("grade/x", 10)):
        file = folder / f"results/memory/timings/{path}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}\t-\n")
    (folder / "results/memory/timings/tables.tsv").write_text("s\th:m:s\n30\t-\n")
    science.main(["--dry-run", "--cores", "2", "memory", "clip"])
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    runs = 11 * 5
    minutes = (60 + (runs * 100 + (runs + 1) * 20) / 2 + 30) / 60
    assert lines["memory"] == ["55", "169", f"{minutes:.0f}"]
    together = [int(a) + int(b) for a, b in zip(lines["memory"], lines["clip"], strict=True)]
    assert [int(n) for n in lines["together"]] == pytest.approx(together, abs=1)


def test_some_experiments_in_their_order(calls: list[Sequence[str]]) -> None:
    assert science.main(["tuned", "tuning", "--cores", "3"]) == 0
    told = [" ".join(call[call.index("snakemake") + 1 :]) for call in calls]
    assert told == [
        "--cores 3 results/tuning.csv results/tuning/figures/tuning.png"
        " --configfile workflow/config/tuning.yaml",
        "--cores 3 results/tuned.csv figures --configfile results/tuning/tuned.yaml",
    ]


def test_what_fails_stops_the_rest_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(science, "_run", lambda call: 3 if "results/tuning.csv" in call else 0)
    assert science.main(["arms", "tuning", "tuned"]) == 3
    assert "tuning ended with exit code 3; start again to go on" in capsys.readouterr().err


@pytest.mark.slow
def test_what_ends_it_ends_what_it_runs_first() -> None:
    child = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), print('saved', flush=True),"
        " sys.exit(7)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    run = f"sys.exit(_run([sys.executable, '-c', {child!r}]))"
    call = f"import sys; from kpo.evals.science import _run; {run}"
    command = [sys.executable, "-c", call]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "saved\n"
        assert process.wait() == 7


def test_a_choice_that_was_not_made_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        science.main(["tuned", "--dry-run"])
    assert stop.value.code == 2
    assert "results/tuning/tuned.yaml is not there: ask for tuning too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [(["nonsense"], "no experiment 'nonsense'; there is tiny,"), (["--cores", "0"], "at least 1")],
)
def test_wrong_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        science.main(arguments)
    assert stop.value.code == 2
    assert fault in capsys.readouterr().err


def test_what_ran_here_becomes_the_file_of_seconds(folder: Path) -> None:
    (folder / "workflow").unlink()
    (folder / "workflow").mkdir()
    (folder / "workflow/seconds.csv").write_text((REPO / "workflow/seconds.csv").read_text())
    before = read_seconds(science.SECONDS)
    file = folder / "results/clip/timings/base.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("s\th:m:s\n77.5\t-\n")
    science.main(["--write-seconds"])
    after = read_seconds(science.SECONDS)
    changed = [row for row in after if row not in before]
    assert [(row.experiment, row.job, row.seconds) for row in changed] == [("clip", "base", 77.5)]
    assert len(after) == len(before)


def test_collapse_is_drawn_of_the_grids_that_are_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call that draws is made of what the calls before have written."""
    made: list[Sequence[str]] = []

    def run(call: Sequence[str]) -> int:
        made.append(call)
        if "snakemake" in call:
            grid = folder / "results" / Path(call[-1]).stem / "grid.csv"
            grid.parent.mkdir(parents=True)
            grid.write_text("")
        return 0

    monkeypatch.setattr(science, "_run", run)
    assert science.main(["reuse", "memory"]) == 0
    drawn = [call[3:] for call in made if "kpo.evals.figure" in call]
    assert drawn == [
        ["collapse", "--grid", "results/memory/grid.csv", "--out", "results/collapse.png"]
    ]
    assert all("figures" in call for call in made if "snakemake" in call)
