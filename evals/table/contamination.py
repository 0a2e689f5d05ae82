"""Whether the training problems of a table's runs are free of its benchmarks' problems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from evals.table.trainings import Manifests
from kpo.trainer.training_set import RECORD

AGAIN = (
    "to look now, run `snakemake --forcerun data {record}` with the experiment's --configfile; the"
    " runs are trained again only if it drops something"
)


def contamination_notes(folder: Path, trainings: Manifests, benchmarks: Sequence[str]) -> list[str]:
    """A note for a table's readers where some benchmark's problems were not looked for.

    `folder` holds the experiment's training set; what its record says counts as far as the runs
    were trained on that set, and else what their manifests say.
    """
    record = next(iter(trainings.values())).get("training_set", {})
    path = folder / RECORD
    if path.is_file():
        written = json.loads(path.read_text(encoding="utf-8"))
        if written["problems_sha256"] == record.get("cleaned_sha256"):
            record = written
    if "contamination" not in record:  # the embedded task's are held out by construction
        return []
    searched = (record["contamination"] or {}).get("benchmarks", {})
    missing = [name for name in benchmarks if name not in searched]
    if not missing:
        return []
    how = AGAIN.format(record=path) if searched else "data.contamination is keep"
    return [
        f"Whether problems of {', '.join(missing)} are among the training problems was not looked"
        f" for ({how})."
    ]
