"""How the runs of a table were trained: alike, so that it compares methods and nothing else.

Every training manifest must name the same base, problems, prompts, settings (all but the seed, the
method's, and what its row says to have otherwise than the train section), engine, number of
processes and package versions, and every evaluation must be of the model that its training made.
Other trainer code is not refused but said, as a fix elsewhere in the trainer need not change
anything.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment, run_name, run_parts
from kpo.evals.table.manifests import check_alike, flatten, parsed, runs_by, sides
from kpo.evals.table.rewards import WINDOW, collapsed_runs
from kpo.trainer.guards.learning import stood_still
from kpo.trainer.training_set import RECORD

Manifests = Mapping[str, dict[str, Any]]
"""Of training, by run."""
Steps = list[dict[str, float]]
"""Metrics of each step of a run."""
STILL = "‡"
"""Marks a row in which a run learnt nothing."""
ALIKE = ("base", "data", "prompt", "settings", "engine", "processes")
VERSIONS = ("python", "torch", "transformers", "math-verify")


def read_steps(folder: Path, trainings: Manifests) -> dict[str, Steps]:
    """<folder>/<run>/metrics.jsonl of every run.

    Raises UserError for one that is missing, cut, or not of the training in the run's manifest.
    """
    found: dict[str, Steps] = {}
    for run, manifest in trainings.items():
        path = folder / run / "metrics.jsonl"
        found[run] = parsed(path, lambda text: [json.loads(line) for line in text.splitlines()])
        if (steps := manifest["learning"]["steps"]) != len(found[run]):
            raise UserError(
                f"{path} has {len(found[run])} steps, but manifest.json beside it is of {steps};"
                " train it again."
            )
    return found


def check_trainings(
    experiment: Experiment, folder: Path, trainings: Manifests, models: Mapping[str, str]
) -> None:
    """Raise UserError for runs trained apart, and for an evaluation of other weights.

    `models` are the hashes of the weights that were evaluated, by run, with those of `base`;
    `folder`, the experiment's, is named to readers.
    """
    shared = {run: _shared(m) for run, m in trainings.items()}
    for name, method in experiment.methods.items():
        common, own = (
            flatten(
                {"settings": {"train": train.model_dump(mode="json", include=set(method.train))}}
            )
            for train in (experiment.train, experiment.train_of(name))
        )
        for flat in (shared[run_name(name, seed)] for seed in experiment.seeds):
            flat |= {key: common[key] for key in common if flat.get(key) == own[key]}
    check_alike(shared, "runs that were trained apart")
    made = [(run, manifest.get("weights")) for run, manifest in trainings.items()]
    bases = [("base", manifest.get("base")) for manifest in trainings.values()]
    for run, weights in [*made, *bases]:
        if weights != models[run]:
            raise UserError(
                f"{folder}: the evaluation of {run} is of other weights"
                f" ({str(models[run])[:12]}) than training's ({str(weights)[:12]}); evaluate it"
                " again."
            )


def _shared(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What all runs of a table have in common."""
    versions = manifest.get("packages", {})
    return flatten(
        {key: manifest[key] for key in ALIKE if key in manifest}
        | {"packages": {name: versions[name] for name in VERSIONS if name in versions}}
    )


def still_runs(trainings: Manifests) -> dict[str, str]:
    """Runs that learnt nothing, and why that is known."""
    found = {run: stood_still(manifest["learning"]) for run, manifest in trainings.items()}
    return {run: sentence for run, sentence in found.items() if sentence}


def training_notes(trainings: Manifests, steps: Mapping[str, Steps]) -> Iterator[str]:
    """What a table's readers must know of how its runs were trained."""
    if still := still_runs(trainings):
        runs = "; ".join(f"{run}, {sentence}" for run, sentence in still.items())
        yield (
            f"{STILL}: the row has runs that learnt nothing, and are the base model again: {runs}."
        )
    lost = Counter(run_parts(run)[0] for run in collapsed_runs(steps))
    if any(
        manifest["settings"]["train"].get("reward") == "coin" for manifest in trainings.values()
    ):
        yield (
            "Training rewarded by a coin (`train.reward`), not for right answers: no row has learnt"
            " its task from them."
        )
    if lost:
        of = Counter(run_parts(run)[0] for run in steps)
        told = ", ".join(f"{name} {count} of {of[name]}" for name, count in lost.items())
        yield (
            f"Collapsed, with a mean reward of the last {WINDOW} steps below half of the first"
            f" one's: {told} runs; see training.csv."
        )
    shares: dict[str, list[float]] = {}
    for run, rows in steps.items():
        values = [step["noise_clip_fraction"] for step in rows if "noise_clip_fraction" in step]
        shares.setdefault(run_parts(run)[0], []).extend(values)
    means = {name: fmean(values) for name, values in shares.items() if values}
    if loud := [f"{100 * mean:.2g} % ({name})" for name, mean in means.items() if mean > 1e-3]:
        yield (
            "Rounding alone, where no weight has moved, takes some tokens' ratios beyond the clip:"
            f" {', '.join(loud)}; see training.csv."
        )
    codes = {run: str(manifest.get("code"))[:12] for run, manifest in trainings.items()}
    if len(runs_by(codes)) > 1:
        yield (
            f"The trainer's code is not the same for all runs: {sides(codes)}. Their manifests"
            " name the commits; to be sure that it does not matter, train them again."
        )


def contamination_notes(
    folder: Path, trainings: Manifests, benchmarks: Sequence[str]
) -> Iterator[str]:
    """A note where some benchmark's problems were not looked for among the training problems.

    `folder` holds the experiment's training set; what its record says counts as far as the runs
    were trained on that set, and else what their manifests say.
    """
    record = next(iter(trainings.values())).get("training_set", {})
    path = folder / RECORD
    if path.is_file():
        written = parsed(path)
        if written["problems_sha256"] == record.get("cleaned_sha256"):
            record = written
    if "contamination" not in record:  # the embedded task's are held out by construction
        return
    searched = (record["contamination"] or {}).get("benchmarks", {})
    how = "data.contamination is keep"
    if searched:
        how = (
            f"to look now, run `snakemake --forcerun data {path}` with the experiment's"
            " --configfile; the runs are trained again only if it drops something"
        )
    if missing := [name for name in benchmarks if name not in searched]:
        yield (
            f"Whether problems of {', '.join(missing)} are among the training problems was not"
            f" looked for ({how})."
        )
