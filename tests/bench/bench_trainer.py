"""One whole training step of the suite's trainer beside TRL's GRPOTrainer, on the CPU.

    python -m tests.bench.bench_trainer [--workload tiny] [--rounds 7]

`make bench` runs it, after TRL's environment is made from `workflow/lock/trl.txt`. Two workloads
(`trainer_workloads`): the embedded default's policy with 256 responses of 48 tokens, and a policy
of 10 M parameters and 32,000 words with 32 responses of 32 to 512 tokens.

Each side samples its responses with a generator of its own; only their lengths are scheduled.
Before the clock starts, both take one step from the same weights on the responses that ours
sampled: old log-probs, advantages, four mini-batches of the same responses, four updates. The
benchmark stops unless log-probs and losses agree to TOLERANCE. Then they take turns, a step each,
in a process of their own with the same number of threads, and medians are compared. TRL updates on
single responses in a random order, ours on whole groups; the reward is a parity that costs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.trainer_workloads import WORKLOADS, Check, Workload

ROOT = Path(__file__).parents[2]
TRL_PYTHON = ROOT / ".venv-trl/bin/python"
TOLERANCE = 1e-4
COLUMNS = ("rollout", "old_logprobs", "update", "step", "cpu")
"""Seconds: of the phases, of the whole step, and of all threads' work, which a busy machine changes
less."""


class SideError(RuntimeError):
    """A side ended early."""


class Side:
    """A process that takes a training step when asked."""

    def __init__(self, python: Path, module: str, folder: Path, work: Workload, threads: int):
        self.name, self.log = module, folder / f"{module}.log"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(python), "-m", f"tests.bench.{module}", str(folder), work.name],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def answer(self) -> dict[str, float]:
        """The next line that it says. Raises SideError if it ended instead."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            tail = "\n".join(self.log.read_text().splitlines()[-20:])
            raise SideError(f"{self.name} ended before it answered:\n{tail}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def step(self) -> dict[str, float]:
        """Seconds of one step, by phase."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()


def differences(ours: Check, theirs: Check) -> dict[str, float]:
    """Largest absolute differences of the log-probs and the losses; prompts must be equal."""
    if ours.prompts != theirs.prompts:
        raise SideError("the two sides read different prompts from the same texts")
    pairs = {
        "old log-probs": (list(chain(*ours.logprobs)), list(chain(*theirs.logprobs))),
        "losses": (ours.losses, theirs.losses),
    }
    return {
        name: max(abs(a - b) for a, b in zip(mine, other, strict=True))
        for name, (mine, other) in pairs.items()
    }


def check(folder: Path) -> None:
    """Stop with a message unless both sides computed the same."""
    found = differences(Check.read(folder / "ours.json"), Check.read(folder / "trl.json"))
    print("first step, largest differences:", *(f"{k} {v:.1e}" for k, v in found.items()))
    for name, value in found.items():
        if not value <= TOLERANCE:
            raise SideError(f"the {name} of the two sides differ by {value:.1e} > {TOLERANCE:g}")


def race(work: Workload, rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Median seconds of each side's phases."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with Side(Path(sys.executable), "our_side", folder, work, threads) as ours:
            ours.answer()
            with Side(TRL_PYTHON, "trl_side", folder, work, threads) as trl:
                trl.answer()
                check(folder)
                sides = {"ours": ours, "TRL": trl}
                times: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
                for _ in range(rounds):
                    for name, side in sides.items():
                        times[name].append(side.step())
    return {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in times.items()
    }


def report(work: Workload, medians: dict[str, dict[str, float]]) -> None:
    """Print seconds by phase, tokens per second, and how many times as fast ours is."""
    print(f"{'median seconds':<16}" + "".join(f"{key:>14}" for key in COLUMNS), end="")
    print(f"{'tokens/s':>12}")
    for name, seconds in medians.items():
        cells = "".join(f"{seconds[key]:>14.3f}" for key in COLUMNS)
        print(f"{name:<16}{cells}{work.tokens / seconds['step']:>12,.0f}")
    ours, trl = medians["ours"], medians["TRL"]
    ratios = "".join(f"{trl[key] / ours[key]:>13.2f}x" for key in COLUMNS)
    print(f"{'TRL / ours':<16}{ratios}")


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the sides on each workload."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_trainer")
    parser.add_argument("--workload", choices=WORKLOADS, help="only this one")
    parser.add_argument("--rounds", type=int, help="timed steps of each side")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    if not TRL_PYTHON.exists():
        sys.exit(f"{TRL_PYTHON} is missing: `make bench` makes it")
    for work in [WORKLOADS[options.workload]] if options.workload else WORKLOADS.values():
        print(
            f"{work.name}: {work.responses} responses of {work.shortest} to {work.longest} tokens,"
            f" {work.tokens:,} in all, {work.mini_batches} mini-batches, {options.threads} threads"
        )
        try:
            report(work, race(work, options.rounds or work.rounds, options.threads))
        except SideError as error:
            sys.exit(f"{work.name}: {error}")


if __name__ == "__main__":
    main()
