"""What jobs ask of Slurm: the sbatch lines that the profile gives, recorded by a stub."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.workspace import BIG, REPO, Workspace, pretend_made, with_gpus

pytestmark = pytest.mark.slow
PROFILE = REPO / "workflow/profiles/slurm"
# Records a submission and refuses it; a cluster without accounting whose default is `batch`.
STUB = """#!/bin/sh
case ${0##*/} in
sbatch) printf '%s\\n' "$*" >>"$SBATCH_LINES"; exit 1 ;;
sinfo) echo 'batch*' ;;
esac
"""
TOOLS = ("sbatch", "sinfo", "squeue", "sacct", "sacctmgr", "sshare", "scontrol", "scancel")


class Cluster(Workspace):
    """A workspace on a machine whose Slurm writes down what it is asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.lines = folder / "sbatch.log"
        for tool in TOOLS:
            path = folder / "bin" / tool
            path.parent.mkdir(exist_ok=True)
            path.write_text(STUB)
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("SBATCH_LINES", str(self.lines))
        monkeypatch.setenv("USER", "somebody")  # the plugin wants to know

    def submissions(self, *args: str) -> dict[str, str]:
        """The options of sbatch by rule, up to the command to run."""
        profile = ["--workflow-profile", str(PROFILE), "--retries", "0"]
        fast = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "0"]
        run = self.snakemake("--cores", "64", *profile, *fast, *args)
        assert self.lines.is_file(), run.stdout
        found = re.findall(r"--comment rule_([a-z0-9]+)\S* +(.*?) --wrap", self.lines.read_text())
        return dict(found)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def asked(line: str) -> dict[str, str]:
    """Options and their values."""
    pairs = re.findall(r"(?<!\S)(--?[a-zA-Z-]+)(?:[= ](?!-)(\S+))?", line)
    return {name: value for name, value in pairs if name != "-D"}


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_job_of_gpus_is_one_task_on_one_machine(cluster: Cluster, gpus: int) -> None:
    cluster.write(with_gpus(train=gpus, evaluate=gpus))
    pretend_made(cluster.folder)
    targets = ["runs/grpo-s0/manifest.json", "evals/kpo-clipped-s0/samples.jsonl"]
    lines = cluster.submissions(
        *(f"results/test/{target}" for target in targets), "--rerun-triggers", "mtime"
    )
    train, sample = asked(lines["train"]), asked(lines["sample"])
    assert train["--gpus"] == sample["--gpus"] == str(gpus)
    assert train["--nodes"] == sample["--nodes"] == "1"
    for options in (train, sample):  # one task is sbatch's default
        assert not [name for name in options if name.startswith("--ntasks")]
    assert train["--cpus-per-task"] == str(3 * gpus)  # threads of all ranks
    assert train["-t"] == "2880"
    assert train["--signal"] == "TERM@300"  # to the job's steps; with B: it would be the shell's
    assert sample["-t"] == "720"
    # Both follow the weights: 12 bytes of state and 4 more on each rank for each two stored.
    assert int(train["--mem"]) == 2500 + BIG / 2 * (12 + 4 * gpus) / 1e6
    assert int(sample["--mem"]) == 2500 + BIG / 2 * 6 / 1e6
    assert train["-p"] == "batch"


def test_partition_and_account_take_nothing_of_the_profile_away(cluster: Cluster) -> None:
    site = ["--default-resources", "slurm_partition=long", "slurm_account=project"]
    lines = cluster.submissions("results/table1.csv", *site)
    base, problems = asked(lines["base"]), asked(lines["problems"])
    for options in (base, problems):
        assert options["-p"] == "long"
        assert options["-A"] == "project"
    assert base["-t"] == "120"
    assert int(base["--mem"]) >= 2500
    assert (problems["-t"], problems["--mem"]) == ("60", "4000")
    assert problems["--ntasks"] == "1"
    assert "--gpus" not in problems


def test_every_rule_has_a_time_and_its_memory() -> None:
    rules = "".join(path.read_text() for path in (REPO / "workflow/rules").glob("*.smk"))
    given = yaml.safe_load((PROFILE / "config.yaml").read_text())["set-resources"]
    heads = r"^ *(?:rule|use rule \w+ as) (\w+)(?::| with:)"
    bodies = re.split(heads, rules, flags=re.MULTILINE)[1:]
    for name, body in zip(bodies[::2], bodies[1::2], strict=True):
        assert any(entry.startswith(f"{name}:runtime=") for entry in given), name
        in_profile = any(entry.startswith(f"{name}:mem_mb=") for entry in given)
        assert in_profile != ("mem_mb=" in body), name
    for entry in given:
        assert re.match(r"\w+", entry)[0] in bodies[::2], entry  # type: ignore[index]


def test_a_run_is_told_before_its_time_is_up() -> None:
    """Slurm signals what runs in the job's step, where no shell may stand before the run."""
    given = yaml.safe_load((PROFILE / "config.yaml").read_text())["set-resources"]
    assert "train:slurm_extra='--signal=TERM@300'" in given
    rule = (REPO / "workflow/rules/train.smk").read_text().partition("\nrule train:")[2]
    assert '"exec {params.lease}{params.launcher} -m kpo.train' in rule


def test_the_recommended_line_is_the_one_tested() -> None:
    comment = (PROFILE / "config.yaml").read_text().partition("executor:")[0]
    line = next(line for line in comment.splitlines() if "--default-resources" in line)
    keys = [part.partition("=")[0] for part in shlex.split(line.strip("# "))]
    assert keys == ["--default-resources", "slurm_partition", "slurm_account"]
