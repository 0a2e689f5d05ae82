# Trainings that are looked into, not evaluated. Not part of `all`.

STUDY = {
    "config": uncompared(CONFIG),
    "settings": {method: EXPERIMENT.section("train", method) for method in EXPERIMENT.methods},
    "seeds": EXPERIMENT.seeds,
    "problems": problems_option,
    "lease": uncompared(LEASE["train"]),
}


# Objectives as estimators of the policy gradient, at weights that stay as they are.
rule shootout:
    input:
        base=ancient(rules.base.output.model),
        content=rules.base.output.content,
        problems=rules.problems.output if EXPERIMENT.task else [ancient(rules.data.output.problems)],
        data=[] if EXPERIMENT.task else rules.data.output.content,
    output:
        table=f"{ROOT}/shootout.csv",
        manifest=f"{ROOT}/shootout.manifest.json",
    log:
        f"{ROOT}/logs/shootout.log",
    benchmark:
        f"{ROOT}/timings/shootout.tsv"
    threads: EXPERIMENT.train.threads
    resources:
        gpu=GPUS["train"],
        mem_mb=lambda wildcards, input: shootout_mb(input.base, EXPERIMENT.train),
    params:
        **STUDY,
        command="kpo.shootout",
    shell:
        "{params.lease}python -m {params.command} --config {params.config:q} --base {input.base}"
        " {params.problems} --out {output.table} 2> {log}"


rule shootout_here:
    input:
        rules.shootout.output,
    output:
        "results/shootout.csv",
        "results/shootout.manifest.json",
    log:
        "results/shootout.log",
    benchmark:
        "results/shootout.tsv"
    shell:
        "cp {input} results/ 2> {log}"


# Whether log-ratios have structure, from token to token, that a filter could find.
use rule shootout as structure with:
    output:
        table=f"{ROOT}/structure.csv",
        manifest=f"{ROOT}/structure.manifest.json",
    log:
        f"{ROOT}/logs/structure.log",
    benchmark:
        f"{ROOT}/timings/structure.tsv"
    resources:
        gpu=GPUS["train"],
        mem_mb=lambda wildcards, input: train_mb(input.base, EXPERIMENT.train),
    params:
        **STUDY,
        command="kpo.structure",


use rule shootout_here as structure_here with:
    input:
        rules.structure.output,
    output:
        "results/structure.csv",
        "results/structure.manifest.json",
    log:
        "results/structure.log",
    benchmark:
        "results/structure.tsv"
