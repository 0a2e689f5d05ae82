# The experiment's tables, and a copy of its first one under the name that stays.
from kpo.evals.table import FILES


rule tables:
    input:
        grades=GRADED,
        evaluations=[path.replace("grades.jsonl", "manifest.json") for path in GRADED],
        trainings=expand(f"{ROOT}/runs/{{run}}/manifest.json", run=EXPERIMENT.runs),
        steps=expand(f"{ROOT}/runs/{{run}}/metrics.jsonl", run=EXPERIMENT.runs),
        data=[] if EXPERIMENT.task else rules.data.output.record,
        reported="results/reported/table1.csv",
    output:
        expand(f"{ROOT}/{{file}}", file=FILES),
    log:
        f"{ROOT}/logs/tables.log",
    benchmark:
        f"{ROOT}/timings/tables.tsv"
    params:
        config=uncompared(CONFIG),
        settings=EXPERIMENT.section("table"),
        out=subpath(output[0], parent=True),
    shell:
        "python -m kpo.evals.tables --config {params.config:q} --results results"
        " --out-dir {params.out} > {log} 2>&1"


rule table1:
    input:
        expand(f"{ROOT}/table1.{{format}}", format=FORMATS),
    output:
        expand("results/table1.{format}", format=FORMATS),
    log:
        "results/table1.log",
    benchmark:
        "results/table1.tsv"
    shell:
        "cp {input} results/ 2> {log}"


# Not part of `all`: asked for by name, to keep an experiment's tables in the repository.
rule reference:
    input:
        rules.tables.output,
    output:
        directory(f"results/reference/{EXPERIMENT.experiment}"),
    log:
        f"{ROOT}/logs/reference.log",
    benchmark:
        f"{ROOT}/timings/reference.tsv"
    params:
        root=subpath(input[0], parent=True),
    shell:
        "python -m kpo.evals.reference --experiment {params.root} --out {output} 2> {log}"
