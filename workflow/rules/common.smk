# What several rule files share.

from kpo.job_memory import base_mb, sample_mb, train_mb
from kpo.tasks.prompts import PROTOCOLS

ROOT = f"results/{EXPERIMENT.experiment}"
FORMATS = ["csv", "md", "tex"]
GRADED = expand(f"{ROOT}/evals/{{run}}/grades.jsonl", run=["base", *EXPERIMENT.runs])


wildcard_constraints:
    run="|".join(["base", *EXPERIMENT.runs]),
    method="|".join(EXPERIMENT.methods),
    seed=r"\d+",


def model_of(wildcards):
    """The folder of a run's final model, or of the base policy."""
    return f"{ROOT}/base" if wildcards.run == "base" else f"{ROOT}/runs/{wildcards.run}/model"


def problems_option(wildcards, input):
    """Where the experiment writes its own problems, the option that names them."""
    return f"--problems {input.problems}" if input.problems else ""
