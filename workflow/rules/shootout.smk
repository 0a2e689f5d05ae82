# Objectives as estimators of the policy gradient, at weights that stay as they are. Not part of `all`.


rule shootout:
    input:
        base=ancient(rules.base.output.model),
        content=rules.base.output.content,
        problems=rules.problems.output if EXPERIMENT.task else [ancient(rules.data.output.problems)],
        data=[] if EXPERIMENT.task else rules.data.output.content,
    output:
        table=f"{ROOT}/shootout.csv",
        manifest=f"{ROOT}/shootout.manifest.json",
    conda:
        "../../environment.yml"
    log:
        f"{ROOT}/logs/shootout.log",
    benchmark:
        f"{ROOT}/timings/shootout.tsv"
    params:
        config=uncompared(CONFIG),
        settings={method: EXPERIMENT.section("train", method) for method in EXPERIMENT.methods},
        seeds=EXPERIMENT.seeds,
        problems=problems_option,
        lease=uncompared(LEASE["train"]),
    threads: EXPERIMENT.train.threads
    resources:
        gpu=GPUS["train"],
        mem_mb=lambda wildcards, input: shootout_mb(input.base, EXPERIMENT.train),
    shell:
        "{params.lease}python -m kpo.shootout --config {params.config:q} --base {input.base}"
        " {params.problems} --out {output.table} 2> {log}"


rule shootout_here:
    input:
        rules.shootout.output,
    output:
        "results/shootout.csv",
        "results/shootout.manifest.json",
    conda:
        "../../environment.yml"
    log:
        "results/shootout.log",
    benchmark:
        "results/shootout.tsv"
    shell:
        "cp {input} results/ 2> {log}"
