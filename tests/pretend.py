"""Stands for `python -m <module>` of the workflow's jobs: each writes down what it was made from.

An output holds the settings and the content of the inputs that its job had, as JSON, so that a
table tells every setting and file behind it. Two files named by the environment: one gets a line a
job, `<module> <what>`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from kpo.evals.table import FILES as TABLES

Args = argparse.Namespace
OPERATIONAL = ("threads", "checkpoint_every", "stall_s", "gpu_memory", "tracker")
JOBS = "PRETEND_JOBS"


def write(path: Path, made_from: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made_from, sort_keys=True))


def settings(config: dict[str, Any], part: str) -> Any:
    found = config.get(part)
    if not isinstance(found, dict):
        return found
    return {key: value for key, value in found.items() if key not in OPERATIONAL}


def data(args: Args, config: dict[str, Any], names: list[str], key: str, variable: str) -> Any:
    """The problems' own text, from wherever the job is to take it."""
    folder = args.problems or os.environ.get(variable) or config.get("data", {}).get(key)
    files = [Path(folder) / f"{n}.jsonl" for n in names]
    return [file.read_text() for file in files]


def problems(args: Args, config: dict[str, Any]) -> str:
    for name in args.sets:
        size = config["task"]["train" if name == "train" else "test"]
        made_from = [name, size, config["task"].get("seed", 0), config["task"].get("tiers")]
        write(Path(args.out) / f"{name}.jsonl", made_from)
    return "train" if args.sets == ["train"] else "tests"


def benchmarks(args: Args, config: dict[str, Any]) -> str:
    names = config["evaluate"]["benchmarks"]
    if "bad gold" in str(data(args, config, names, "benchmarks_folder", "KPO_BENCHMARKS")):
        sys.exit(2)
    write(Path(args.out), "checked")
    return "all"


def base(args: Args, config: dict[str, Any]) -> str:
    policy = settings(config, "policy")
    task = config.get("task", {})
    made_from = [policy, config["prompt"], task.get("slip"), task.get("tiers")]
    if policy["kind"] == "pretrained":
        folder = Path(policy.pop("model"))
        made_from = [policy, *(p.read_text() for p in sorted(folder.iterdir()))]
    shutil.rmtree(args.out, ignore_errors=True)
    write(Path(args.out) / "model.json", made_from)
    content = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    write(Path(f"{args.out}.sha256"), content)
    return "base"


def training_set(args: Args, config: dict[str, Any]) -> str:
    out, names = Path(args.out), [config["train"]["problems"]]
    made_from = data(args, config, names, "train_folder", "KPO_TRAIN_PROBLEMS")
    for name in ("problems.jsonl", "dropped.jsonl", "data.json", "content.sha256"):
        write(out / name, made_from)
    return "all"


def train(args: Args, config: dict[str, Any]) -> str:
    method = {key: v for key, v in config["methods"][args.method].items() if key != "label"}
    code = Path(os.environ["PYTHONPATH"]) / f"baselines/{method['objective']}.py"
    problems = Path(args.problems) / ("train.jsonl" if "task" in config else "problems.jsonl")
    made_from = {
        "base": (Path(args.base) / "model.json").read_text(),
        "data": problems.read_text(),
        "settings": [settings(config, part) for part in ("train", "prompt", "grading")],
        "method": [method, args.seed, code.read_text() if code.is_file() else ""],
    }
    for name in ("model/model.json", "tensorboard/events", "config.yaml", "manifest.json"):
        write(Path(args.out) / name, made_from)
    for name in ("metrics.jsonl", "timings.jsonl", "dropped.jsonl"):
        write(Path(args.out) / name, made_from)
    return f"{args.method}-s{args.seed}"


def sample(args: Args, config: dict[str, Any]) -> str:
    names = config["evaluate"]["benchmarks"]
    made_from = {
        "model": (Path(args.model) / "model.json").read_text(),
        "data": data(args, config, names, "benchmarks_folder", "KPO_BENCHMARKS"),
        "settings": [settings(config, part) for part in ("evaluate", "prompt")],
    }
    write(Path(args.out), made_from)
    write(Path(args.out).with_name("manifest.json"), made_from)
    return str(args.run)


def grade(args: Args, _: dict[str, Any]) -> str:
    limits = [args.timeout_s, args.memory_mb, args.answers]
    write(Path(args.out), [Path(args.samples).read_text(), *limits])
    return Path(args.out).parent.name


def tables(args: Args, config: dict[str, Any]) -> str:
    root = Path(args.results) / config["experiment"]
    runs = [f"{method}-s{seed}" for method in config["methods"] for seed in config["seeds"]]
    files = [
        f"evals/{run}/{n}" for run in ["base", *runs] for n in ("grades.jsonl", "manifest.json")
    ]
    files += [f"runs/{run}/{n}" for run in runs for n in ("manifest.json", "metrics.jsonl")]
    parts = [settings(config, part) for part in ("seeds", "methods", "evaluate")]
    made_from = [*parts, {name: (root / name).read_text() for name in files}]
    for name in TABLES:
        write(Path(args.out_dir) / name, made_from)
    return "all"


def tune(args: Args, config: dict[str, Any]) -> str:
    """The chosen experiment has the same rows, each at equal and at chosen settings alike."""
    write(Path(args.surface), (Path(args.results) / config["experiment"] / TABLES[0]).read_text())
    for name, method in config["methods"].items():
        method |= {"family": name, "at": {"settings": "both"}}
    Path(args.out).write_text(yaml.safe_dump({**config, "experiment": "tuned", "seeds": [7]}))
    return "all"


def tuned(args: Args, config: dict[str, Any]) -> str:
    table = Path(args.results) / config["experiment"] / TABLES[0]
    write(Path(args.out), [table.read_text(), Path(args.surface).read_text()])
    return "all"


def figure(name: str, *options: str) -> str:
    """Drawn from the files that its options name, to the last ones."""
    at = options.index("--out")
    texts = [Path(word).read_text() for word in options[:at] if Path(word).is_file()]
    for path in options[at + 1 :]:
        write(Path(path), texts)
    return name


MODULES: dict[str, Callable[[Args, dict[str, Any]], str]] = {
    "kpo.tasks.generate": problems,
    "kpo.evals.benchmarks": benchmarks,
    "kpo.tasks.training_set": training_set,
    "kpo.base": base,
    "kpo.train": train,
    "kpo.evals.sample": sample,
    "kpo.evals.grade": grade,
    "kpo.evals.tables": tables,
    "kpo.evals.tune": tune,
    "kpo.evals.tuned": tuned,
}
FILES = ["config", "out", "out-dir", "base", "problems", "model", "samples", "results"]
FILES += ["queue", "checked", "surface"]
VALUES = ["method", "seed", "run", "timeout-s", "memory-mb", "answers", "rule", "workers"]


def made(module: str, options: list[str]) -> str:
    """What a job of the module has made."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+")
    for option in FILES + VALUES:
        parser.add_argument(f"--{option}")
    args = parser.parse_args(options)
    config = yaml.safe_load(Path(args.config).read_text()) if args.config else {}
    return MODULES[module](args, config)


def main(argv: list[str]) -> None:
    """`-m module --option value ...`, or `-m kpo.devices COUNT python` and that."""
    _, module, *options = argv
    if module == "kpo.devices":
        main(options[2:])
        return
    job = figure(*options) if module == "kpo.evals.figure" else made(module, options)
    with Path(os.environ[JOBS]).open("a") as file:
        file.write(f"{module.rpartition('.')[2]} {job}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
