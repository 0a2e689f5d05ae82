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

    def submissions(self, *args: str, profile: Path = PROFILE) -> dict[str, str]:
        """The options of sbatch by rule, up to the command to run."""
        under = ["--workflow-profile", str(profile), "--retries", "0"]
        fast = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "0"]
        run = self.snakemake("--cores", "64", *under, *fast, *args)
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


def test_gpus_of_two_nodes_are_a_task_on_each(cluster: Cluster) -> None:
    config = with_gpus(train=2, evaluate=1)
    cluster.write({**config, "train": {**config["train"], "nodes": 2}})
    pretend_made(cluster.folder)
    target = "results/test/runs/grpo-s0/manifest.json"
    train = asked(cluster.submissions(target, "--rerun-triggers", "mtime")["train"])
    assert (train["--nodes"], train["--ntasks"]) == ("2", "2")
    assert train["--gres"] == "gpu:2"  # on each
    assert "--gpus" not in train
    assert "--ntasks-per-gpu" not in train
    assert train["--cpus-per-task"] == "6"
    assert int(train["--mem"]) == 2500 + BIG / 2 * (12 + 4 * 2) / 1e6  # of each node


def test_the_command_line_takes_nothing_of_the_profile_away(cluster: Cluster) -> None:
    site = ["--default-resources", "slurm_partition=long", "slurm_account=project"]
    site += ["slurm_extra='--mail-type=FAIL'", "--set-resources", "base:slurm_partition=gpu"]
    lines = cluster.submissions("results/table1.csv", *site, "problems:runtime=99")
    base, problems = asked(lines["base"]), asked(lines["problems"])
    assert (base["-p"], problems["-p"]) == ("gpu", "long")
    assert base["-A"] == problems["-A"] == "project"
    assert base["-t"] == "120"
    assert int(base["--mem"]) >= 2500
    assert (problems["-t"], problems["--mem"]) == ("99", "4000")
    assert base["--mail-type"] == problems["--mail-type"] == "FAIL"
    assert problems["--ntasks"] == "1"
    assert "--gpus" not in problems


def test_a_profile_places_each_rule_and_the_command_line_adds_to_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    jobs = profile["config"]["jobs"]
    jobs["all"] = {"slurm_partition": "cpu", "slurm_account": "project"}
    jobs["train"] |= {"slurm_partition": "gpu", "slurm_account": "gpus", "mem_mb": 9000}
    own = tmp_path / "own/config.yaml"
    own.parent.mkdir()
    own.write_text(yaml.safe_dump(profile))
    pretend_made(cluster.folder)
    targets = ["runs/grpo-s0/manifest.json", "evals/kpo-clipped-s0/samples.jsonl"]
    args = [*(f"results/test/{target}" for target in targets), "--rerun-triggers", "mtime"]
    extra = "slurm_extra='--container-image=kpo.sqsh'"
    lines = cluster.submissions(*args, "--default-resources", extra, profile=own.parent)
    train, sample = asked(lines["train"]), asked(lines["sample"])
    assert [train[name] for name in ("-p", "-A", "-t", "--mem")] == ["gpu", "gpus", "2880", "9000"]
    assert [sample[name] for name in ("-p", "-A", "-t")] == ["cpu", "project", "720"]
    assert train["--container-image"] == sample["--container-image"] == "kpo.sqsh"
    assert train["--signal"] == "TERM@300"  # still


def test_a_profile_runs_a_rule_in_a_container(cluster: Cluster) -> None:
    """Up to the container: what stands for apptainer writes down what it is asked for."""
    calls = cluster.folder / "apptainer.log"
    stub = f'#!/bin/sh\necho apptainer version 1.3.0\necho "$*" >>{calls}\n'
    (cluster.folder / "bin/apptainer").write_text(stub)
    (cluster.folder / "bin/apptainer").chmod(0o755)
    image = cluster.folder / "kpo.sif"
    image.touch()
    jobs = f"jobs={{problems: {{container: {image}}}}}"
    cluster.snakemake("results/test/problems/train.jsonl", "--sdm", "apptainer", "--config", jobs)
    (call,) = (line for line in calls.read_text().splitlines() if "kpo.tasks.generate" in line)
    assert call.startswith("exec ")
    assert f" {image} " in call


def test_every_rule_has_a_time_and_its_memory() -> None:
    rules = "".join(path.read_text() for path in (REPO / "workflow/rules").glob("*.smk"))
    given = yaml.safe_load((PROFILE / "config.yaml").read_text())["config"]["jobs"]
    heads = r"^ *(?:rule|use rule \w+ as) (\w+)(?::| with:)"
    bodies = re.split(heads, rules, flags=re.MULTILINE)[1:]
    for name, body in zip(bodies[::2], bodies[1::2], strict=True):
        assert "runtime" in given[name], name
        assert ("mem_mb" in given[name]) != ("mem_mb=" in body), name
    assert set(given) - {"all"} <= set(bodies[::2])


def test_a_run_is_told_before_its_time_is_up() -> None:
    """Slurm signals what runs in the job's step, where no shell may stand before the run."""
    given = yaml.safe_load((PROFILE / "config.yaml").read_text())["config"]["jobs"]
    assert given["train"]["slurm_extra"] == "--signal=TERM@300"
    rule = (REPO / "workflow/rules/train.smk").read_text().partition("\nrule train:")[2]
    assert '"exec {params.lease}{params.launcher} -m kpo.train' in rule


def test_the_recommended_line_is_the_one_tested() -> None:
    comment = (PROFILE / "config.yaml").read_text().partition("executor:")[0]
    line = next(line for line in comment.splitlines() if "--default-resources" in line)
    keys = [part.partition("=")[0] for part in shlex.split(line.strip("# "))]
    assert keys == ["--default-resources", "slurm_partition", "slurm_account"]
