"""The Kubernetes profile, up to the cluster: the jobs that it would start."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.workspace import REPO, Workspace

pytestmark = pytest.mark.slow
PROFILE = REPO / "workflow/profiles/kubernetes"


def test_all_jobs_are_planned_on_the_volume(tmp_path: Path) -> None:
    here, volume = Workspace(tmp_path / "here"), tmp_path / "volume"
    shutil.copytree(REPO / "results/reported", volume / "results/reported")
    profile = ["--workflow-profile", str(PROFILE), "--default-storage-prefix", str(volume)]
    usual = here.planned("results/table1.csv")
    assert here.planned("results/table1.csv", *profile) == usual
    run = here.snakemake("results/table1.csv", *profile, "--dry-run")
    assert f"{volume}/results/test/base (send to storage)" in run.stdout
    jobs = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)", run.stdout, re.MULTILINE)
    assert {rule for rule, _ in jobs} == usual.keys()
    for rule, resources in jobs:
        asked = dict(entry.split("=") for entry in resources.split(", "))
        assert (asked["gpu_manufacturer"], asked["scale"]) == ("nvidia", "0"), rule
        memory = asked["mem_mb"]  # unknown before there is a model
        assert memory == "<TBD>" or int(memory) >= 2500, rule
