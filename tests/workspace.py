"""Folders of their own in which tests run this repository's workflow."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).parents[1]
TEST_CONFIG: dict[str, Any] = {
    "extends": str(REPO / "workflow/config/mini.yaml"),
    "experiment": "test",
    "task": {"train": 64, "test": 2},
    "policy": {"sft": {"steps": 4}},
    "train": {"steps": 2, "prompts": 4, "group": 4, "mini_batches": 2, "max_response_tokens": 24},
    "evaluate": {"engine": "transformers", "samples": 2, "max_response_tokens": 24},
    "methods": {
        "grpo": {"label": "GRPO", "objective": "grpo", "clip_low": 0.2, "clip_high": 0.2},
        "kpo-clipped": {"label": "KPO-clipped", "objective": "kpo", "q": 1e-6},
    },
}

BIG = 3_000_000_000
"""Bytes of a model's weights."""


MADE = (
    "problems/train.jsonl",
    *(f"problems/{tier}.jsonl" for tier in ("easy", "medium", "hard")),
    "base",
    "base.sha256",
    "runs/kpo-clipped-s0/model",
)
"""What training and evaluation start from."""


def copy_of_project(folder: Path) -> Path:
    """A copy of the project in a new folder, to be edited."""
    for name in ("kpo", "baselines", "evals", "workflow"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPO / name, folder / name, ignore=ignored, symlinks=True)
    for name in ("Snakefile", "environment.yml"):
        shutil.copy(REPO / name, folder)
    return folder


def add_registered(project: Path, file: str, source: str, registry: str, key: str) -> None:
    """Add a module to a project, and its class `Key` as `key`, the first of a registry's dict."""
    (project / file).write_text(source)
    path = project / registry
    before, opening, after = path.read_text().partition("] = {\n")
    rest, _, dictionary = before.rpartition("\n")
    module = "kpo." + file.removeprefix("kpo/").removesuffix(".py").replace("/", ".")
    name = key.capitalize()
    path.write_text(
        f'{rest}\nfrom {module} import {name}\n\n{dictionary}{opening}    "{key}": {name},\n{after}'
    )


@cache
def _server(program: str, *args: str, python_path: str = "") -> subprocess.Popen[str]:
    """A program of these tests, started once; it runs until its stdin ends, as tests do."""
    return subprocess.Popen(
        [sys.executable, "-P", str(REPO / "tests" / program), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path},
    )


@cache
def forked_python() -> Path:
    """A folder whose `python` has `tests.job_server`, which runs until tests end, do the work."""
    folder = Path(tempfile.mkdtemp(prefix="jobs-"))
    atexit.register(shutil.rmtree, folder)
    server = _server("job_server.py", str(folder / "socket"))
    assert server.stdout
    server.stdout.readline()
    client = f'"{sys.executable}" -I -S "{REPO / "tests/job_client.py"}" "{folder / "socket"}"'
    (folder / "python").write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    (folder / "python").chmod(0o755)
    return folder


class Workspace:
    """A folder with an experiment file in which snakemake runs a project's workflow.

    Args:
        folder: where it works.
        config: the experiment.
        project: whose Snakefile and modules it takes.
        preloaded: whether jobs are forks of a process that has loaded what takes them long.
    """

    def __init__(
        self,
        folder: Path,
        config: object = TEST_CONFIG,
        project: Path = REPO,
        *,
        preloaded: bool = True,
    ) -> None:
        self.folder, self.project, self.preloaded = folder, project, preloaded
        shutil.copytree(REPO / "results/reported", folder / "results/reported")
        self.config = folder / "test.yaml"
        self.environment: dict[str, str] = {}
        self.write(config)

    def write(self, config: object) -> None:
        """Write the experiment file."""
        self.config.write_text(yaml.safe_dump(config))

    def arguments(
        self, *args: str, config: Path | None = None, entrance: str = "Snakefile"
    ) -> list[str]:
        """Of a call of snakemake here."""
        argv = ["--snakefile", str(self.project / entrance), "--cores", "2", *args]
        return [*argv, "--configfile", str(config or self.config)]

    def snakemake(self, *args: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run snakemake here; stdout and stderr together."""
        argv = self.arguments(*args, config=config)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        if self.preloaded and "--dry-run" not in args and "PATH" not in self.environment:
            path = f"{forked_python()}:{path}"
        env = {**os.environ, "PYTHONPATH": str(self.project), "PATH": path, **self.environment}
        server = _server("snakemake_server.py", python_path=str(self.project))
        assert server.stdin
        assert server.stdout
        out = self.folder / "snakemake.out"
        request = {"cwd": str(self.folder), "env": env, "argv": argv, "out": str(out)}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(argv, code, out.read_text())

    def planned(self, *args: str) -> dict[str, int]:
        """Jobs that a call would run, by rule."""
        run = self.snakemake(*args, "--dry-run", "--quiet", "host")
        assert run.returncode == 0, run.stdout
        jobs: dict[str, int] = {}
        table = run.stdout.partition("\njob ")[2].partition("\n\n")[0]
        for line in table.splitlines()[2:]:
            name, count = line.split()
            jobs[name] = int(count)
        jobs.pop("total", None)
        return jobs

    def digest(self, pattern: str) -> dict[str, str]:
        """Content hashes of the files under results/ that match."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((self.folder / "results").glob(pattern))
        }


def pretend_made(folder: Path, paths: Sequence[str] = MADE) -> None:
    """Make files, and folders of models, as if earlier jobs had."""
    for path in paths:
        target = folder / "results/test" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix:
            target.write_text("")
            continue
        target.mkdir()
        with (target / "model.safetensors").open("wb") as weights:
            weights.truncate(BIG)  # takes no room


def with_gpus(train: int, evaluate: int) -> dict[str, Any]:
    """The test experiment on so many GPUs."""
    settings: Any = TEST_CONFIG
    return {
        **settings,
        "train": {**settings["train"], "gpus": train, "threads": 3},
        "evaluate": {**settings["evaluate"], "engine": "vllm", "gpus": evaluate},
    }
