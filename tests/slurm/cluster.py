"""A Slurm of two nodes on this machine, on loopback, with a fake GPU for each file that names one.

munge, slurmctld and two slurmd run as root in the foreground, and end with the test. As long,
/etc/slurm holds links to their configuration, which steps within jobs look for there.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ETC = Path("/etc/slurm")
LINKED = ("slurm.conf", "gres.conf", "cgroup.conf")
NODES = ("n1", "n2")
GPUS = 4
"""Of each node."""
TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
READY_S = 60.0

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/record
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=120
MinJobAge=3600
SchedulerParameters=batch_sched_delay=0,sched_interval=2
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port={n1},{n2} \\
  CPUs=16 RealMemory=200000 Gres=gpu:4
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""
# What Slurm gives every task that it starts; the scripts of jobs are no tasks.
RECORD = """\
#!/bin/sh
gpus=${{CUDA_VISIBLE_DEVICES:-none}}
echo "$SLURM_JOB_ID ${{SLURM_STEP_ID:-batch}} $SLURMD_NODENAME $gpus" >>{folder}/tasks
"""


@dataclass(frozen=True)
class Task:
    """One that Slurm started: in which step, where, and with which GPUs."""

    job: int
    step: str
    node: str
    gpus: str


class Cluster:
    """What the Slurm whose files lie in `folder` has done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def jobs(self) -> dict[int, dict[str, str]]:
        """Fields of every job, by its number."""
        lines = call("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = (dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines)
        return {int(job["JobId"]): job for job in jobs if "JobId" in job}

    def rule(self, name: str) -> list[dict[str, str]]:
        """Jobs of a rule, in their order, by the comment that Snakemake gives them."""
        found = [job for job in self.jobs().values() if job.get("Comment", "").startswith(name)]
        return sorted(found, key=lambda job: int(job["JobId"]))

    def tasks(self, job: dict[str, str]) -> list[Task]:
        """Of a job, those that its steps consisted of, in the order of their nodes."""
        path = self.folder / "tasks"
        lines = path.read_text().splitlines() if path.is_file() else []
        tasks = (Task(int(number), *rest) for number, *rest in map(str.split, lines))
        own = (task for task in tasks if task.job == int(job["JobId"]) and task.step.isdigit())
        return sorted(own, key=lambda task: task.node)


def call(*command: str) -> str:
    """What one of Slurm's commands prints; they wait long for a controller that has died."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def why_not() -> str | None:
    """Why no Slurm can be started here."""
    if os.geteuid() != 0:
        return "Slurm's daemons are started by root alone"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} not installed (tests/slurm/install.sh)"
    if any((ETC / name).exists() and not _left(ETC / name) for name in LINKED):
        return f"{ETC} belongs to another Slurm"
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        address = "nothing"
    return None if address.startswith("127.") else f"this machine's name is {address}, not loopback"


def _left(link: Path) -> bool:
    """Whether a killed test has left this."""
    return (link.resolve().parent / "record").is_file()


def configure(folder: Path) -> None:
    """Write what the daemons read."""
    for name in ("munge", "state", *NODES):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge/key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for gpu in range(GPUS):
        (folder / f"gpu{gpu}").symlink_to("/dev/null")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in ("ctld", *NODES)]
    ports = dict(zip(("ctld", *NODES), (s.getsockname()[1] for s in sockets), strict=True))
    for one in sockets:
        one.close()
    files = {
        "slurm.conf": CONF.format(host=socket.gethostname(), folder=folder, **ports),
        "gres.conf": f"AutoDetect=off\nName=gpu File={folder}/gpu[0-{GPUS - 1}]\n",
        "cgroup.conf": "CgroupPlugin=cgroup/v1\n",
        "record": RECORD.format(folder=folder),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "record").chmod(0o755)


@contextmanager
def running(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in the foreground, ended at the end of the block."""
    with (folder / f"{command[0]}-{command[-1].replace('/', '_')}.out").open("wb") as out:
        daemon = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start it, and stop it with all its jobs. Raises RuntimeError where it does not come up."""
    configure(folder)
    munge = folder / "munge"
    own = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log"}
    own |= {"seed-file": "seed"}
    with ExitStack() as stack:
        ETC.mkdir(exist_ok=True)
        for name in LINKED:
            link = ETC / name
            link.unlink(missing_ok=True)
            link.symlink_to(folder / name)
            stack.callback(link.unlink)
        options = [f"--{option}={munge / name}" for option, name in own.items()]
        stack.enter_context(running(folder, "munged", "--foreground", "--force", *options))
        stack.enter_context(running(folder, "slurmctld", "-D", "-c"))
        for node in NODES:
            stack.enter_context(running(folder, "slurmd", "-D", "-N", node))
        _wait_until_ready()
        stack.callback(_end_jobs)
        yield Cluster(folder)


def _wait_until_ready() -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        try:
            states = call("sinfo", "--noheader", "--Node", "--format=%T").split()
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            states = []
        if states and set(states) == {"idle"}:
            return
        time.sleep(0.2)
    raise RuntimeError(f"Slurm's nodes are not idle after {READY_S:g} s: {states}")


def _end_jobs() -> None:
    call("scancel", "--user=root")
    end = time.monotonic() + READY_S
    while call("squeue", "--noheader") and time.monotonic() < end:
        time.sleep(0.2)
