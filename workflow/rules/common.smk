# What several rule files share.

from kpo.planning.job_memory import base_mb, sample_mb, shootout_mb, train_mb
from kpo.common.source_code import code_hash
from kpo.tasks.prompts import PROTOCOLS

ROOT = f"results/{EXPERIMENT.experiment}"
FORMATS = ["csv", "md", "tex"]
GPUS = {
    "base": min(1, EXPERIMENT.train.gpus),
    "train": EXPERIMENT.train.gpus if EXPERIMENT.train.nodes == 1 else 0,
    "sample": EXPERIMENT.evaluate.gpus,
}
# What Slurm is told of a run: one machine, or a task on each, which starts the processes there.
ON_NODES = EXPERIMENT.train.on_nodes
# What stands before a command that uses GPUs: it waits until so many are free, and sees no others.
LEASE = {job: f"python -m kpo.devices {count} " if count else "" for job, count in GPUS.items()}
if EXPERIMENT.train.engine == "verl" and "RAY_ADDRESS" in os.environ:
    LEASE["train"] = ""  # its GPUs are that cluster's
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
    """What a figure or page is made from, by name: of the experiment, or of what is kept."""
    folder = SOURCES[root]
    found = {name: [] for name in files}
    for name, some in files.items():
        for file in [some] if isinstance(some, str) else some:
            last = root == ROOT and file in ("tuning.csv", "tuned.csv")
            found[name].append(f"results/{file}" if last else f"{folder}/{file}")
    return found


def there(root, files):
    """Whether all that something is made from is kept."""
    paths = sources(root, files).values()
    return all(some and all(map(os.path.isfile, some)) for some in paths)


def options(wildcards, input):
    """The named inputs as options of a command."""
    return [word for name, paths in input.items() for word in (f"--{name}", *paths)]


def category(wildcards):
    """Where the report has what belongs to an experiment, or to all of them."""
    name = os.path.basename(wildcards.root)
    own = wildcards.root == ROOT
    return (
        f"{name} (this run)" if own else "all experiments" if name == "kept" else f"{name} (kept)"
    )
