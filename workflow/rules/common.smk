# What several rule files share.

from kpo.planning.job_memory import base_mb, sample_mb, shootout_mb, train_mb
from kpo.common.source_code import code_hash
from kpo.tasks.prompts import PROTOCOLS

ROOT = f"results/{EXPERIMENT.experiment}"
FORMATS = ["csv", "md", "tex"]
GPUS = {
    "base": min(1, EXPERIMENT.train.gpus),
    "train": EXPERIMENT.train.gpus,
    "sample": EXPERIMENT.evaluate.gpus,
}
# What stands before a command that uses GPUs: it waits until so many are free, and sees no others.
LEASE = {job: f"python -m kpo.devices {count} " if count else "" for job, count in GPUS.items()}
# Where sampling a model takes less time than starting an engine: the embedded task's models.
QUEUE = f"--queue {ROOT}/evals" if EXPERIMENT.task and not EXPERIMENT.evaluate.gpus else ""
GRADED = expand(f"{ROOT}/evals/{{run}}/grades.jsonl", run=["base", *EXPERIMENT.runs])


wildcard_constraints:
    run="|".join(["base", *EXPERIMENT.runs]),
    method="|".join(EXPERIMENT.methods),
    seed=r"\d+",


def uncompared(value):
    """A param that reruns nothing when it changes: Snakemake takes it to follow from the outputs."""
    return lambda wildcards, output: value


def model_of(wildcards):
    """The folder of a run's final model, or of the base policy and the hash of its content."""
    if wildcards.run == "base":
        return {"model": ancient(f"{ROOT}/base"), "content": f"{ROOT}/base.sha256"}
    return {"model": f"{ROOT}/runs/{wildcards.run}/model"}


def problems_option(wildcards, input):
    """Where the experiment writes its own problems, the option that names their folder."""
    return f"--problems {os.path.dirname(input.problems[0])}" if input.problems else ""


def sources(root, files):
    """What a figure is drawn from, by name: of the experiment, or of what is kept of one."""
    folder = SOURCES[root]
    surface = {"tuning.csv": "results/tuning.csv"} if folder == ROOT else {}
    return {name: surface.get(file, f"{folder}/{file}") for name, file in files.items()}


def options(wildcards, input):
    """The named inputs as options of a command."""
    return [word for name, path in input.items() for word in (f"--{name}", path)]


def category(wildcards):
    """Where the report has what belongs to an experiment."""
    name = os.path.basename(wildcards.root)
    return name if wildcards.root == ROOT else f"{name} (kept)"
