"""Workflows whose programs only write down what they were made from: `tests.pretend`."""

from __future__ import annotations

import copy
import shutil
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import pretend
from tests.pretend import JOBS
from tests.workspace import REPO, Workspace

Tree = dict[str, Any]
TABLE = "results/table1.csv"
GRPO = {"label": "GRPO", "objective": "grpo", "clip_low": 0.2, "clip_high": 0.2}
KPO = {"label": "KPO", "objective": "kpo", "q": 1e-6}
SUMS: Tree = {
    "experiment": "test",
    "seeds": [0],
    "prompt": "plain",
    "task": {"train": 64, "test": 2},
    "policy": {"kind": "scratch", "sft": {"steps": 4}},
    "train": {
        "problems": "train",
        "steps": 2,
        "max_prompt_tokens": 24,
        "max_response_tokens": 80,
        "lr": 1e-4,
    },
    "evaluate": {
        "benchmarks": ["easy", "hard"],
        "samples": 16,
        "max_response_tokens": 80,
        "engine": "transformers",
    },
    "grading": {"timeout_s": 5.0, "memory_mb": 2048},
    "methods": {"grpo": GRPO, "kpo": KPO},
}
RUNS = ("grpo-s0", "kpo-s0")


class Pretended(Workspace):
    """A workspace whose jobs only write down what they were made from."""

    def prepare(self) -> None:
        """Put `tests.pretend` in the place of python."""
        python = self.folder / "bin" / "python"
        python.parent.mkdir(exist_ok=True)
        program = f'exec "{sys.executable}" -P "{REPO / "tests/pretend.py"}" "$@"'
        python.write_text(f"#!/bin/sh\n{program}\n")
        python.chmod(0o755)
        self.environment["PATH"] = f"{python.parent}:{Path(sys.executable).parent}:/usr/bin:/bin"
        self.environment[JOBS] = str(self.folder / "jobs")

    def jobs(self, *args: str, config: Path | None = None, fails: bool = False) -> set[str]:
        """Run snakemake; the jobs that ran, without the copy in results/."""
        jobs = self.folder / "jobs"
        jobs.unlink(missing_ok=True)
        run = self.snakemake(*args, config=config)
        assert (run.returncode != 0) == fails, run.stdout
        return set(jobs.read_text().splitlines()) if jobs.exists() else set()

    def table(self) -> str:
        return (self.folder / TABLE).read_text()

    def copy(self, folder: Path) -> Pretended:
        """The same as it stands, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        again = copy.copy(self)
        again.folder, again.config = folder, folder / self.config.name
        again.environment = dict(self.environment)
        again.prepare()
        return again


def started(folder: Path, config: Tree, project: Path = REPO) -> Pretended:
    folder.mkdir(exist_ok=True, parents=True)
    workspace = Pretended(folder, config, project)
    workspace.prepare()
    return workspace


def evaluated(*runs: str) -> set[str]:
    """The jobs from a model to the table."""
    return {f"{part} {run}" for part in ("sample", "grade") for run in runs} | {"tables all"}


def trained(*runs: str) -> set[str]:
    return {f"train {run}" for run in runs} | evaluated(*runs)


def changed(tree: Tree, path: str, value: Any) -> Tree:
    result = copy.deepcopy(tree)
    *parents, last = path.split("/")
    section = result
    for key in parents:
        section = section[key]
    section[last] = value
    return result


ALL = trained(*RUNS)


def from_nothing(config: Tree, folder: Path, project: Path = REPO) -> str:
    """The table of an experiment in an empty folder, by calling one program after the other."""
    (folder / "results").mkdir(parents=True)
    (folder / "test.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(JOBS, "jobs")
        patch.setenv("PYTHONPATH", str(project))
        for command in commands(config):
            pretend.main(["-m", *command])
    return (folder / TABLE).read_text()


def commands(config: Tree) -> Iterator[list[str]]:
    """All the programs of an experiment, in an order that works."""
    root, settings = f"results/{config['experiment']}", ["--config=test.yaml"]
    made = f"{root}/problems"
    if "task" in config:
        sets = ["train", "easy", "medium", "hard"]
        yield ["kpo.tasks.generate", *settings, f"--out={made}", "--sets", *sets]
    else:
        yield ["kpo.tasks.training_set", *settings, f"--out={made}"]
    yield ["kpo.base", *settings, f"--out={root}/base"]
    models = {"base": f"{root}/base"}
    for method, seed in product(config["methods"], config["seeds"]):
        run = f"{root}/runs/{method}-s{seed}"
        what = [f"--method={method}", f"--seed={seed}", f"--base={root}/base", f"--out={run}"]
        yield ["kpo.train", *settings, *what, f"--problems={made}"]
        models[f"{method}-s{seed}"] = f"{run}/model"
    problems = [f"--problems={made}"] if "task" in config else []
    limits = [f"--{key.replace('_', '-')}={value}" for key, value in config["grading"].items()]
    for run, model in models.items():
        samples, grades = (f"{root}/evals/{run}/{name}.jsonl" for name in ("samples", "grades"))
        what = [f"--run={run}", f"--model={model}", f"--out={samples}"]
        yield ["kpo.evals.sample", *settings, *what, *problems]
        yield [
            "kpo.evals.grade",
            f"--samples={samples}",
            f"--out={grades}",
            *limits,
            "--answers=boxed",
        ]
    yield ["kpo.evals.tables", *settings, "--results=results", "--out-dir=results"]
