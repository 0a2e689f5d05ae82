"""Whether runs were trained alike, so that a table compares methods and nothing else.

Every training manifest must name the same base, problems, prompts, settings (all but the method's
and the seed), engine, number of processes and package versions, and every evaluation must be of the
model that its training made. Other trainer code is not refused but said, as a fix elsewhere in the
trainer need not change anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.table.data import Row
from evals.table.runs import TableError, check_alike, flatten, listed, read_manifest
from kpo.trainer.guards.learning import stood_still

ALIKE = ("base", "data", "prompt", "settings", "engine", "processes")
LEARNT = {"steps": 0, "still_steps": 0, "moved_weights": 1.0}
"""Of a manifest that does not say."""
VERSIONS = ("python", "torch", "transformers", "math-verify")


def check_trainings(folder: Path, runs: list[str], models: Mapping[str, str]) -> list[str]:
    """Read <folder>/<run>/manifest.json of every run; notes for the table's readers.

    `models` are the hashes of the weights that were evaluated, by run, with those of `base`.
    Raises TableError for runs that were not trained alike, and for an evaluation of other weights.
    """
    manifests = {run: read_manifest(folder / run / "manifest.json", "settings") for run in runs}
    check_alike({run: _shared(m) for run, m in manifests.items()}, "runs that were trained apart")
    made = {run: manifest.get("weights") for run, manifest in manifests.items()}
    bases = {manifest.get("base") for manifest in manifests.values()}
    for run, weights in [*made.items(), *(("base", base) for base in bases)]:
        if weights != models[run]:
            raise TableError(
                f"{folder.parent}: the evaluation of {run} is of other weights"
                f" ({str(models[run])[:12]}) than training's ({str(weights)[:12]}); evaluate it"
                " again."
            )
    return _code_notes({run: str(manifest.get("code")) for run, manifest in manifests.items()})


def still_runs(folder: Path, runs: list[str]) -> dict[str, str]:
    """Runs that learnt nothing, as their manifests say, and why that is known."""
    found = {}
    for run in runs:
        manifest = read_manifest(folder / run / "manifest.json", "settings")
        if sentence := stood_still(manifest.get("learning", LEARNT)):
            found[run] = sentence
    return found


def noise_floors(folder: Path, runs: list[str]) -> dict[str, dict[str, float]]:
    """The noise floor of each run's log-ratios, as far as its manifest states one."""
    return {
        run: read_manifest(folder / run / "manifest.json", "settings").get("noise", {})
        for run in runs
    }


def noise_notes(rows: Sequence[Row]) -> list[str]:
    """A note on rows of which rounding alone clips more than a few tokens."""
    shares = {row.name: row.noise.get("noise_clip_fraction", 0.0) for row in rows}
    loud = [f"{100 * share:.2g} % ({name})" for name, share in shares.items() if share > 1e-3]
    if not loud:
        return []
    return [
        "Rounding alone, where no weight has moved, takes some tokens' ratios beyond the clip:"
        f" {', '.join(loud)}; see diagnostics.csv."
    ]


def _shared(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What all runs of a table have in common."""
    versions = manifest.get("packages", {})
    return flatten(
        {key: manifest[key] for key in ALIKE if key in manifest}
        | {"packages": {name: versions[name] for name in VERSIONS if name in versions}}
    )


def _code_notes(codes: Mapping[str, str]) -> list[str]:
    """A note where runs were trained by different trainer code."""
    runs_by_code: dict[str, list[str]] = {}
    for run, code in codes.items():
        runs_by_code.setdefault(code, []).append(run)
    if len(runs_by_code) < 2:
        return []
    sides = (f"{code[:12]} in {listed(runs)}" for code, runs in runs_by_code.items())
    return [
        f"The trainer's code is not the same for all runs: {' and '.join(sides)}. Their manifests"
        " name the commits; to be sure that it does not matter, train them again."
    ]
