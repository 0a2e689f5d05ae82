"""An experiment as a data set for the Hugging Face hub: its tables, manifests, and a card.

The folder is also one that `evals.compare` reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError
from kpo.common.files import write_json, write_text
from kpo.common.hub import CARD, card_folder, front_matter
from kpo.evals.sharing.stored import MANIFESTS, SCORES, Stored, read
from kpo.evals.table import FILES, SHEETS

TOLD = "table1.md"
CONFIGS = {SCORES: "scores"} | {name: name.removesuffix(".csv") for name in SHEETS}
"""Names by which a sheet is loaded; the first one's where none is said."""
WHAT = {
    "scores": "right answers to each problem, a column a run (`<method>-s<seed>`)",
    "curves": "metrics of every training step",
    "table1": "the table, with limits",
    "differences": "pairs of rows, tested",
    "aggregates": "interquartile means, probabilities of improvement, performance profiles",
    "diagnostics": "truncation, lengths, grading failures",
    "training": "how each run's training went",
    "grid": "settings and means of each row",
}


def write_dataset(experiment: Path, out: Path, repo_id: str) -> None:
    """Write the data set's folder, whose card calls it `repo_id`.

    Raises UserError for an experiment whose tables are not all there or do not fit together.
    """
    stored = read(experiment, str(experiment))
    _ = stored.rows  # which are checked
    if missing := [name for name in FILES if not (experiment / name).is_file()]:
        raise UserError(f"{experiment}: {', '.join(missing)} is missing; run the experiment first")
    with card_folder(out) as folder:
        for name in FILES:
            shutil.copyfile(experiment / name, folder / name)
        write_json(folder / MANIFESTS, stored.recorded)
        table = (experiment / TOLD).read_text(encoding="utf-8")
        write_text(folder / CARD, _header(stored), "\n".join(_body(stored, table, repo_id)), "\n")


def _name(stored: Stored) -> str:
    """Of the experiment, as its manifests say."""
    return str(stored.recorded["evals"]["shared"].get("experiment", "experiment"))


def _header(stored: Stored) -> str:
    configs: list[dict[str, Any]] = [
        {"config_name": name, "data_files": file} for file, name in CONFIGS.items()
    ]
    configs[0]["default"] = True
    return front_matter(
        pretty_name=f"KPO and baselines: {_name(stored)}",
        tags=["reinforcement-learning", "grpo", "kpo", "benchmark-results", "arxiv:2602.10609"],
        configs=configs,
    )


def _body(stored: Stored, table: str, repo_id: str) -> Iterator[str]:
    """table: the experiment's, in Markdown."""
    title, _, rest = table.partition("\n")
    trained = sum(len(row.seeds) for row in stored.rows.values())
    yield f"\n# {_name(stored)}: results of KPO and its baselines\n"
    yield (
        f"{trained} training runs of {len(stored.rows) - 1} methods and the base policy, evaluated"
        f" with {stored.k} answers to each of {len(stored.problems)} problems, by the suite for KPO"
        " (arXiv 2602.10609)."
    )
    yield "\n| configuration | what is in it |\n| --- | --- |"
    yield from (f"| `{name}` | {WHAT[name]} |" for name in CONFIGS.values())
    yield f"\n`{MANIFESTS}` holds code, versions, hardware, settings and times of every run.\n"
    yield "```python\nfrom datasets import load_dataset\n"
    yield f'scores = load_dataset("{repo_id}", split="train")'
    yield f'curves = load_dataset("{repo_id}", "curves", split="train")\n```\n'
    yield "Rows of your own beside these, paired problem by problem:\n"
    yield f"```sh\npython -m evals.compare results/mine/table1.csv --with {repo_id}\n```\n"
    yield f"#{title}"
    yield rest.replace("\n## ", "\n### ").rstrip()
    yield "\n## Made with\n"
    yield from _made_with(stored)


def _made_with(stored: Stored) -> Iterator[str]:
    for kind, what in (("runs", "Training"), ("evals", "Evaluation")):
        shared = stored.recorded[kind]["shared"]
        git, packages = shared.get("git", {}), shared.get("packages", {})
        versions = ", ".join(f"{name} {version}" for name, version in packages.items())
        dirty = ", with changes that are in no commit" if git.get("dirty") else ""
        yield f"- {what}: commit {git.get('commit') or 'unknown'}{dirty}; {versions or 'unknown'}"
