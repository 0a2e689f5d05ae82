# The experiment's tables, and a copy of its first one under the name that stays.

GRADED = expand(f"{ROOT}/evals/{{run}}/grades.jsonl", run=["base", *EXPERIMENT.runs])
FORMATS = ["csv", "md", "tex"]


rule tables:
    input:
        grades=GRADED,
        manifests=[path.replace("grades.jsonl", "manifest.json") for path in GRADED],
        reported="results/reported/table1.csv",
    output:
        expand(f"{ROOT}/table1.{{format}}", format=FORMATS),
        f"{ROOT}/diagnostics.csv",
        f"{ROOT}/differences.csv",
    log:
        f"{ROOT}/logs/tables.log",
    benchmark:
        f"{ROOT}/benchmarks/tables.tsv"
    params:
        config=CONFIG,
        settings=EXPERIMENT.section("table"),
    shell:
        "python -m evals.tables --config {params.config} --results results --out-dir {ROOT} > {log} 2>&1"


rule table1:
    input:
        expand(f"{ROOT}/table1.{{format}}", format=FORMATS),
    output:
        expand("results/table1.{format}", format=FORMATS),
    log:
        "results/table1.log",
    shell:
        "cp {input} results/ 2> {log}"
