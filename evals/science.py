"""Make everything that the suite has to say, from nothing: all experiments, one after the other.

    python -m evals.science --dry-run      what is left, and how long it takes
    python -m evals.science                all of it
    python -m evals.science memory clip    some of it

One Snakemake call an experiment. Interrupted anywhere and started again it goes on where it was;
where nothing is left, every call finds nothing to do.
"""

from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from kpo.common.cli import UserError, command, warn
from kpo.common.cores import cores
from kpo.common.files import write_text
from kpo.config.experiment import load_experiment
from kpo.evals.figures import STALE
from kpo.evals.tuning.chosen import most_runs
from kpo.planning.jobs import (
    Jobs,
    Measured,
    all_jobs,
    jobs_left,
    own_timings,
    read_seconds,
    seconds_text,
    wall_seconds,
)

CONFIGS, RESULTS = Path("workflow/config"), Path("results")
SECONDS = Path("workflow/seconds.csv")
"""Mean seconds of every kind of job, measured: --write-seconds makes it."""


@dataclass(frozen=True)
class Stage:
    """An experiment and what is asked of it: a table, and figures, by rule or by name.

    `chosen_by` is the one that writes its file; `job` the one that makes the target, beside the
    base policy's, where the experiment has no runs.
    """

    name: str
    target: str = ""
    chosen_by: str = ""
    job: str = ""
    figures: tuple[str, ...] = ("figures",)

    @property
    def config(self) -> Path:
        """The experiment file."""
        if self.chosen_by:
            return RESULTS / self.chosen_by / f"{self.name}.yaml"
        return CONFIGS / f"{self.name}.yaml"

    def command(self, cores: int) -> list[str]:
        """The call of Snakemake, which a terminal shows with its board."""
        targets = [self.target or f"{RESULTS}/{self.name}/table1.csv", *self.figures]
        shown = [sys.executable, "-m", "kpo.watch", "--"]
        call = [sys.executable, "-m", "snakemake", "--cores", str(cores), *targets]
        return [*shown, *call, "--configfile", str(self.config)]


def _drawn(name: str, *figures: str) -> tuple[str, ...]:
    return tuple(f"{RESULTS}/{name}/figures/{figure}.png" for figure in figures)


STAGES = (
    *map(Stage, ("tiny", "tiny-offpolicy", "tiny-field", "arms", "arms-calm", "clip", "memory")),
    *map(Stage, ("reuse", "staleness", "deviations")),
    Stage("tuning", target="results/tuning.csv", figures=_drawn("tuning", "tuning")),
    Stage("tuned", target="results/tuned.csv", chosen_by="tuning"),
    Stage(
        "shootout",
        target="results/shootout.csv",
        job="shootout",
        figures=_drawn("shootout", "shootout"),
    ),
    Stage(
        "structure",
        target="results/structure.csv",
        job="structure",
        figures=_drawn("structure", "structure", "autocorrelation"),
    ),
    *map(Stage, ("tiny-long", "memory-long", "tiny-sorting")),
)


@dataclass(frozen=True)
class Left:
    """A stage's runs, its jobs that are left, and their seconds; None where not all are known."""

    stage: Stage
    runs: int
    jobs: Jobs
    seconds: float | None


def plan(
    stages: Sequence[Stage], seconds: Mapping[tuple[str, str], float], cores: int
) -> list[Left]:
    """What is left of each stage. Raises UserError for a file that nothing here writes."""
    found = []
    for stage in stages:
        if not stage.config.is_file():
            runs = _runs_to_come(stage, stages)
            jobs = all_jobs(runs)
        else:
            experiment = load_experiment(stage.config)
            runs, jobs = len(experiment.runs), jobs_left(experiment, RESULTS)
            if stage.job:
                runs, jobs = 0, {} if Path(stage.target).exists() else {"base": 1, stage.job: 1}
        found.append(Left(stage, runs, jobs, wall_seconds(jobs, stage.name, seconds, cores)))
    return found


def _runs_to_come(stage: Stage, stages: Sequence[Stage]) -> int:
    """Of an experiment whose settings are still to be chosen: at most so many."""
    chooser = next((other for other in stages if other.name == stage.chosen_by), None)
    if chooser is None:
        raise UserError(f"{stage.config} is not there: ask for {stage.chosen_by or stage.name} too")
    methods = load_experiment(chooser.config).methods.values()
    return most_runs([method.family for method in methods])


def report(plans: Sequence[Left], cores: int) -> str:
    """A line a stage, and the sum."""
    lines = [f"{'':16}{'runs':>6}{'jobs left':>11}{'minutes':>9}"]
    for left in plans:
        told = "?" if left.seconds is None else f"{left.seconds / 60:.0f}"
        lines.append(f"{left.stage.name:16}{left.runs:6}{sum(left.jobs.values()):11}{told:>9}")
    known = sum(left.seconds or 0 for left in plans)
    runs, jobs = sum(p.runs for p in plans), sum(sum(p.jobs.values()) for p in plans)
    lines.append(f"{'together':16}{runs:6}{jobs:11}{known / 60:9.0f}")
    unknown = [left.stage.name for left in plans if left.seconds is None]
    without = f", without {', '.join(unknown)}, whose jobs were never measured" if unknown else ""
    lines.append(f"about {known / 3600:.1f} hours on {cores} cores{without}")
    return "\n".join(lines)


def measured(stages: Sequence[Stage]) -> list[Measured]:
    """Mean seconds by experiment and kind: this machine's where it has some, else the file's."""
    here = f"{platform.machine()}, {cores()} cores"
    own = {(m.experiment, m.job): m for s in stages for m in own_timings(s.name, RESULTS, here)}
    there = {(m.experiment, m.job): m for m in read_seconds(SECONDS)}
    return [*{**there, **own}.values()]


def collapse(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The call that draws what the stale experiments say together, once their grids are there."""
    paths = (RESULTS / name / "grid.csv" for name in names if name in STALE)
    if stale := [str(path) for path in paths if path.is_file()]:
        call = [sys.executable, "-m", "kpo.evals.figure", "collapse", "--grid", *stale]
        yield "the figure of collapse", [*call, "--out", str(RESULTS / "collapse.png")]


def _run(call: Sequence[str]) -> int:
    """Run to the end; what asks this process to stop asks the child, which ends its jobs first."""
    with subprocess.Popen(call) as child:
        signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
        signal.signal(signal.SIGINT, lambda *_: None)  # a terminal sends it to the child too
        return child.wait()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m evals.science",
        description="Makes every experiment of the suite, from nothing or from wherever an earlier"
        " call stopped, and says before how long it takes.",
        epilog="Runs Snakemake once an experiment, in the repository's folder. Times are means of"
        f" RESULTS/<experiment>/timings, where there are some, and else those in {SECONDS}.",
    )
    names = [stage.name for stage in STAGES]
    parser.add_argument(
        "stages", nargs="*", metavar="experiment", help=f"of {', '.join(names)}; all"
    )
    parser.add_argument(
        "--cores",
        type=int,
        default=cores(),
        help="jobs at a time (%(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what is left")
    parser.add_argument(
        "--write-seconds", action="store_true", help=f"write {SECONDS} from what ran here, and end"
    )
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.stages) - set(names):
        parser.error(f"no experiment {min(unknown)!r}; there is {', '.join(names)}")
    if arguments.cores < 1:
        parser.error(f"--cores is {arguments.cores}, but must be at least 1")
    return arguments


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = _arguments(argv)
    stages = [s for s in STAGES if s.name in arguments.stages or not arguments.stages]
    means = measured(stages)
    if arguments.write_seconds:
        write_text(SECONDS, seconds_text(means))
        return 0
    seconds = {(m.experiment, m.job): m.seconds for m in means}
    plans = plan(stages, seconds, arguments.cores)
    print(report(plans, arguments.cores))
    print(f"measured on {'; '.join(dict.fromkeys(m.machine for m in means))}", flush=True)
    if arguments.dry_run:
        return 0
    calls = {stage.name: stage.command(arguments.cores) for stage in stages}
    for name, call in chain(calls.items(), collapse([stage.name for stage in stages])):
        if code := _run(call):
            warn(f"{name} ended with exit code {code}; start again to go on from there")
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
