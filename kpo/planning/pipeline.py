"""Where a pipeline stands, read from what Snakemake and its jobs write while it runs.

Snakemake keeps a log of every call in `.snakemake/log`, whichever way its jobs are carried out; a
job's own log ends in its progress bar. Nothing here writes.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from kpo.planning.jobs import ALONE, own_timings, read_seconds, wall_seconds

LOGS, SECONDS, RESULTS = Path(".snakemake/log"), Path("workflow/seconds.csv"), Path("results")
TAIL = 4096
"""Bytes at the end of a job's log that hold its progress bar."""
_EVENT = re.compile(
    r"^\[(?P<time>\w{3} .* \d{4})\]$"
    r"|^(?:local)?(?:rule|checkpoint) (?P<rule>\w+):\n(?P<items>(?: {4}.*\n)+)"
    r"|^Error in rule \w+:\n(?: {4}.*\n)*? {4}jobid: (?P<failed>\d+)$"
    r"|^Finished jobid: (?P<finished>\d+)",
    re.MULTILINE,
)
"""What Snakemake writes: when, a job that starts, and one that fails or is done."""
_BAR = re.compile(r"(\d+)/(\d+) \[[\d:]+<([\d:]+|\?), ([^\],]+)(?:, ([^\]]*))?\]")
"""tqdm's: done, total, time left, rate, what is shown behind it."""


@dataclass(frozen=True)
class Job:
    """A job as Snakemake announces it; `log` is where it says how far it is."""

    rule: str
    started: float
    id: str
    log: Path | None = None

    @property
    def name(self) -> str:
        """The rule, and by its log what tells its jobs apart."""
        stem = self.log.stem if self.log else self.rule
        return self.rule if stem == self.rule else f"{self.rule} {stem}"


@dataclass
class Pipeline:
    """What one call of Snakemake has to do, does, and has done."""

    planned: Counter[str] = field(default_factory=Counter)
    running: dict[str, Job] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Of the jobs that are done, by rule."""
    failed: list[Job] = field(default_factory=list)
    cores: int = 1
    at_once: int = 0
    """The most jobs that ran beside each other."""
    experiment: str = ""
    ended: bool = False

    @property
    def done(self) -> int:
        """How many jobs."""
        return sum(map(len, self.seconds.values()))

    @property
    def waiting(self) -> Counter[str]:
        """Jobs that have not started, by rule; those that failed are not waited for."""
        gone = Counter(job.rule for job in [*self.running.values(), *self.failed])
        gone.update({rule: len(times) for rule, times in self.seconds.items()})
        return self.planned - gone

    def start(self, job: Job) -> None:
        """One more runs, perhaps again."""
        self.failed = [other for other in self.failed if other.id != job.id]
        self.running[job.id] = job
        self.at_once = max(self.at_once, len(self.running))
        if job.log is not None and job.log.parts[0] == RESULTS.name and len(job.log.parts) > 3:
            self.experiment = job.log.parts[1]


@dataclass(frozen=True)
class Bar:
    """How far a job is: steps, its seconds left where it knows them, what else it shows."""

    done: int
    total: int
    left: float | None
    shown: str = ""


def newest_log(folder: Path = LOGS) -> Path | None:
    """Of the call that began last."""
    return max(folder.glob("*.snakemake.log"), default=None)  # named by their time


def read_log(text: str) -> Pipeline:
    """The state of the call that wrote this log."""
    stats = re.search(r"^Job stats:\n((?:.+\n)+)", text, re.MULTILINE)
    planned = re.findall(r"^(\w+) +(\d+)$", stats[1] if stats else "", re.MULTILINE)
    cores = re.search(r"^Provided cores: (\d+)", text, re.MULTILINE)
    found = Pipeline(
        planned=Counter({rule: int(count) for rule, count in planned if rule != "total"}),
        cores=int(cores[1]) if cores else 1,
        ended="\nComplete log(s):" in text,
    )
    now = 0.0
    for event in _EVENT.finditer(text):
        if event["time"]:
            now = time.mktime(time.strptime(event["time"], "%a %b %d %H:%M:%S %Y"))
        elif event["rule"]:
            items = dict(re.findall(r"^    (\w+): (.*)$", event["items"], re.MULTILINE))
            log = Path(items["log"].partition(", ")[0]) if "log" in items else None
            if "jobid" in items:  # else it is being written
                found.start(Job(event["rule"], now, items["jobid"], log))
        elif job := found.running.pop(event["failed"] or event["finished"], None):
            if event["failed"]:
                found.failed.append(job)
            else:
                found.seconds.setdefault(job.rule, []).append(now - job.started)
    return found


def bar_of(job: Job) -> Bar | None:
    """The newest progress bar in a job's log, unless it is an earlier attempt's or a library's."""
    try:
        if job.log is None or job.log.stat().st_mtime < job.started:
            return None
        with job.log.open("rb") as file:
            file.seek(max(0, job.log.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    own = [bar for bar in _BAR.findall(text) if not re.search(r"\b(?:s/it|it/s)$|\dit/s", bar[3])]
    if not own:
        return None
    done, total, left, _, shown = own[-1]
    return Bar(int(done), int(total), None if left == "?" else clock(left), shown)


def clock(text: str) -> float:
    """Seconds of `mm:ss` or `h:mm:ss`."""
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return float(total)


def stored_means(
    experiment: str, seconds: Path = SECONDS, results: Path = RESULTS
) -> dict[str, float]:
    """Mean seconds of a job by rule, before a call: of the experiment here, else the file's."""
    stored = read_seconds(seconds) if seconds.is_file() else []
    known = [*stored, *own_timings(experiment, results, "here")]
    return {m.job: m.seconds for m in known if m.experiment == experiment}


def means(pipeline: Pipeline, stored: Mapping[str, float]) -> dict[str, float]:
    """Mean seconds of a job by rule: of this call, else what was stored before it."""
    return {**stored, **{rule: fmean(times) for rule, times in pipeline.seconds.items()}}


def by_their_bars(jobs: Mapping[Job, Bar | None], now: float) -> dict[str, float]:
    """Seconds that running jobs will have taken, by rule: before the first of a rule is done."""
    known = ((job, bar.left) for job, bar in jobs.items() if bar is not None)
    return {job.rule: now - job.started + left for job, left in known if left is not None}


def job_left(job: Job, bar: Bar | None, means: Mapping[str, float], now: float) -> float | None:
    """Seconds that a running job still takes; None where nothing tells."""
    if bar is not None and bar.left is not None:
        return bar.left
    return max(0.0, means[job.rule] - (now - job.started)) if job.rule in means else None


def time_left(
    pipeline: Pipeline, means: Mapping[str, float], running: Mapping[str, float | None]
) -> tuple[float, list[str]]:
    """Seconds until all is done, and the rules whose jobs were never timed, left out of them.

    `running` are the seconds that each running job still takes, by its id.
    """
    parallel = any(rule not in ALONE for rule in pipeline.seconds)
    slots = max(1, pipeline.at_once if parallel else pipeline.cores)
    waiting, rules = pipeline.waiting, {key: job.rule for key, job in pipeline.running.items()}
    jobs = {rule: count for rule, count in waiting.items() if rule in means}
    known = {("", rule): mean for rule, mean in means.items()}
    rest = wall_seconds(jobs, "", known, slots) or 0.0
    lefts = {key: left for key, left in running.items() if left is not None}
    shares = (left / (1 if rules[key] in ALONE else slots) for key, left in lefts.items())
    unknown = {rule for rule in waiting if rule not in means}
    unknown |= {rules[key] for key, left in running.items() if left is None}
    return max([rest + sum(shares), *lefts.values()]), sorted(unknown)
