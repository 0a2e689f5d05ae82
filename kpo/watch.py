"""Show how far a pipeline is: jobs done and left, time left, and each running job's step.

    python -m kpo.watch                                 the one that was started last in this folder
    python -m kpo.watch --once                          the same, printed once
    python -m kpo.watch -- snakemake --cores all ...    starts one, and shows it below its messages

It reads the log that Snakemake writes in `.snakemake/log` and the logs of its jobs, so it can be
another terminal, or another machine that sees the folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kpo.common.cli import command, fail
from kpo.common.text import duration
from kpo.planning.pipeline import (
    bar_of,
    by_their_bars,
    job_left,
    means,
    newest_log,
    read_log,
    stored_means,
    time_left,
)

EVERY_S = 1.0
QUIET_S = 120.0
"""After so long without a word from Snakemake or its jobs, that is said."""


@cache
def known(_log: Path, experiment: str) -> dict[str, float]:
    """Mean seconds by rule from before a call, read once in it: its own jobs its log tells."""
    return stored_means(experiment)


def board(log: Path, now: float) -> RenderableType:
    """The state of the call that writes this log."""
    pipeline = read_log(log.read_text(encoding="utf-8", errors="replace"))
    bars = {job: bar_of(job) for job in pipeline.running.values()}
    mean = by_their_bars(bars, now) | means(pipeline, known(log.resolve(), pipeline.experiment))
    lefts = {job.id: job_left(job, bar, mean, now) for job, bar in bars.items()}
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(bars))
    for title in ("running", "step", "", "time", "left"):
        table.add_column(title, no_wrap=True)
    for job, bar in bars.items():
        step, shown = (f"{bar.done}/{bar.total}", bar.shown) if bar else ("", "")
        left = lefts[job.id]
        told = "?" if left is None else duration(round(left))
        table.add_row(job.name, step, shown, duration(round(now - job.started)), told)
    total = sum(pipeline.planned.values())
    seconds, unknown = time_left(pipeline, mean, lefts)
    said = f"{pipeline.experiment or 'pipeline'}: {pipeline.done} of {total} jobs done"
    if pipeline.failed:
        said += f", {len(pipeline.failed)} failed ({', '.join(j.name for j in pipeline.failed)})"
    if pipeline.ended:
        return Text(f"{said}; this call has ended")
    if not pipeline.planned:
        return Text("Snakemake works out what there is to do ...")
    if pipeline.running:
        said += f", {len(pipeline.running)} running"
        said += f", {_told(seconds, unknown)}"
    files = [log, *(job.log for job in bars if job.log is not None and job.log.is_file())]
    last = max(file.stat().st_mtime for file in files)
    if now - last > QUIET_S:
        said += f"; nothing was heard of it for {duration(round(now - last))}"
    done = Table.grid(expand=True)
    done.add_row(ProgressBar(total=total or 1, completed=pipeline.done))
    return Group(Text(said), done, table)


def _told(seconds: float, unknown: Sequence[str]) -> str:
    """What is known of the time left."""
    if not unknown:
        return f"about {duration(round(seconds))} left"
    if not seconds:
        return "time left not known yet"
    jobs = ", ".join(unknown)
    return f"at least {duration(round(seconds))} left, and the jobs that were not timed yet: {jobs}"


def latest(after: float = 0.0) -> Callable[[], RenderableType]:
    """What draws the newest call's board, if it began after a time."""

    def draw() -> RenderableType:
        log, now = newest_log(), time.time()
        if log is None or log.stat().st_mtime < after:
            return Text("Snakemake starts ...")
        return board(log, now)

    return draw


def start(call: Sequence[str]) -> int:
    """Run a call of Snakemake with the board below its messages; its exit code.

    Where the messages go to no terminal, it takes this process's place.
    """
    if not sys.stderr.isatty():
        os.execvp(call[0], [*call])
    console = Console(stderr=True)
    live = Live(get_renderable=latest(time.time()), console=console, refresh_per_second=EVERY_S)
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True, errors="replace") as child:
        signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
        signal.signal(signal.SIGINT, lambda *_: None)  # the terminal sends it to the child too
        with live:
            for line in child.stderr or ():
                console.print(line.rstrip("\n"), markup=False, highlight=False, soft_wrap=True)
        return child.wait()


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m kpo.watch",
        description="Shows jobs done and left with the time that is left, and of each running job"
        " its step, reward and time left. Reads the logs that Snakemake and its jobs write in this"
        " folder; writes nothing.",
    )
    parser.add_argument("--once", action="store_true", help="print the state and end")
    parser.add_argument("call", nargs="*", help="after --: a call of Snakemake to start and show")
    arguments = parser.parse_args(argv)
    if arguments.call:
        return start(arguments.call)
    if newest_log() is None:
        fail("no pipeline was started in this folder: there is no log in .snakemake/log")
    draw, console = latest(), Console()
    if arguments.once or not console.is_terminal:
        console.print(draw())
        return 0
    try:
        with Live(get_renderable=draw, console=console, refresh_per_second=EVERY_S):
            signal.pause()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
