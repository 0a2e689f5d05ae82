"""A small experiment with graded runs, as tables read them: what tests write, change and make."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from kpo.config.experiment import load_experiment
from kpo.evals import tables
from kpo.evals.table.build import build_table
from kpo.evals.table.data import Table
from kpo.evals.table.documents import markdown

REPORTED = Path(__file__).parents[2] / "results" / "reported" / "table1.csv"
FILES = [f"{name}.csv" for name in ("aggregates", "curves", "diagnostics", "differences", "grid")]
FILES += ["scores.csv", "table1.csv", "table1.md", "table1.tex", "training.csv"]
CONFIG = """
experiment: demo
seeds: [0, 1, 2]
prompt: boxed
policy: { kind: pretrained, model: some/model }
train: { problems: gsm8k-train, steps: 1, max_prompt_tokens: 9, max_response_tokens: 9, lr: 1e-6 }
evaluate: { benchmarks: [aime24, gsm8k], samples: 4, max_response_tokens: 9 }
methods:
  grpo: { label: GRPO, objective: grpo, clip_low: 0.2, clip_high: 0.2 }
  gspo: { label: "GS_PO & co | 100%", objective: gspo, clip_low: 3e-4, clip_high: 4e-4 }
  kpo-clipped: { label: KPO-clipped, objective: kpo, memory: 12, clip_low: 3e-4, clip_high: 4e-4 }
  kpo-unclipped: { label: KPO-unclipped, objective: kpo, q: 1e-4, clip_low: null, clip_high: null }
"""
PROBLEMS = {"aime24": 6, "gsm8k": 9}
SKILL = {"base": 0.3, "grpo": 0.5, "gspo": 0.8, "kpo-clipped": 0.5, "kpo-unclipped": 0.02}
PROTOCOL = {
    "prompt": {"name": "boxed", "template_sha256": "0123456789abcdef" * 4},
    "sampling": {"temperature": 1.0, "top_p": 1.0},
}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_run(folder: Path, skill: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for benchmark, count in PROBLEMS.items():
        for problem in range(count):
            for sample in range(4):
                correct = bool(rng.random() < skill)
                failed = not correct and sample == 3
                rows.append(
                    {
                        "benchmark": benchmark,
                        "id": f"p{problem}",
                        "sample": sample,
                        "correct": correct,
                        "status": "no_answer" if failed else "ok",
                        "extracted": None if failed else "7",
                        "tokens": 10 + sample,
                        "finish": "length" if failed else "stop",
                    }
                )
    folder.mkdir(parents=True)
    write_rows(folder / "grades.jsonl", rows)
    manifest = {"model": folder.name, "protocol": PROTOCOL}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_training(folder: Path) -> None:
    """A run of two steps on the base that write_run calls `base`: its manifest and metrics."""
    folder.mkdir(parents=True)
    versions = {"python": "3.11", "torch": "2", "transformers": "5", "math-verify": "1"}
    manifest = {
        "packages": {**versions, "snakemake": "9"},
        "base": "base",
        "data": "problems",
        "weights": folder.name,
        "settings": {"train": {"lr": 1e-6}},
        "code": "0123456789abcdef",
        "learning": {"steps": 2, "still_steps": 0, "moved_weights": 1.0},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_rows(folder / "metrics.jsonl", [{"step": 0, "reward": 0.5}, {"step": 1, "reward": 0.75}])


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def rewarded(root: Path, run: str, rewards: list[float], **metrics: float) -> None:
    """Give a run's training these rewards, a step each, and other metrics that stay as they are."""
    steps = [{"step": n, "reward": reward, **metrics} for n, reward in enumerate(rewards)]
    write_rows(root / "results/demo/runs" / run / "metrics.jsonl", steps)
    learning = {"steps": len(steps), "still_steps": 0, "moved_weights": 1.0}
    note_training(root, run, learning=learning)


def note_training(root: Path, run: str, **changes: Any) -> None:
    """Put other entries into the manifest of a run's training."""
    path = root / "results/demo/runs" / run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def make(root: Path, out: str = "out") -> None:
    arguments = ["--config", str(root / "demo.yaml"), "--results", str(root / "results")]
    tables.main([*arguments, "--out-dir", str(root / out)])


def records(path: Path) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in csv.DictReader(path.read_text().splitlines())}


def table_of(root: Path) -> Table:
    return build_table(load_experiment(root / "demo.yaml"), root / "results")


def differences(root: Path) -> dict[str, dict[str, str]]:
    """The grid of differences in Markdown: row -> reference -> points."""
    _, found, *_ = markdown(table_of(root)).split("## ")
    lines = [line for line in found.splitlines() if line.startswith("| ")]
    head, _, *rows = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines]
    names = [name.removeprefix("minus ") for name in head[1:]]
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


def change(root: Path, old: str, new: str) -> None:
    text = (root / "demo.yaml").read_text()
    assert old in text
    (root / "demo.yaml").write_text(text.replace(old, new))
