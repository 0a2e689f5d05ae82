# Problems (where the experiment has a task of its own), checks, base policy, one job per run.


rule problems:
    output:
        directory(f"{ROOT}/problems"),
    conda:
        "../../environment.yml"
    log:
        f"{ROOT}/logs/problems.log",
    benchmark:
        f"{ROOT}/benchmarks/problems.tsv"
    params:
        config=CONFIG,
        settings=EXPERIMENT.section("problems"),
    shell:
        "python -m kpo.tasks.chained_sums --config {params.config} --out {output} 2> {log}"


rule benchmarks:
    input:
        problems=rules.problems.output if EXPERIMENT.task else [],
    output:
        f"{ROOT}/benchmarks.json",
    conda:
        "../../environment.yml"
    log:
        f"{ROOT}/logs/benchmarks.log",
    benchmark:
        f"{ROOT}/benchmarks/benchmarks.tsv"
    params:
        config=CONFIG,
        settings=EXPERIMENT.section("evaluate"),
        problems=problems_option,
    shell:
        "python -m evals.benchmarks --config {params.config} {params.problems} --out {output}"
        " 2> {log}"


rule base:
    output:
        directory(f"{ROOT}/base"),
    conda:
        "../../environment.yml"
    log:
        f"{ROOT}/logs/base.log",
    benchmark:
        f"{ROOT}/benchmarks/base.tsv"
    params:
        config=CONFIG,
        settings=EXPERIMENT.section("base"),
    threads: EXPERIMENT.train.threads
    resources:
        gpu=min(1, EXPERIMENT.train.gpus),
        mem_mb=base_mb(EXPERIMENT.policy),
    shell:
        "python -m kpo.base --config {params.config} --out {output} 2> {log}"


rule train:
    input:
        base=rules.base.output,
        problems=rules.problems.output if EXPERIMENT.task else [],
        checked=ancient(rules.benchmarks.output),  # a bad gold stops the work before it starts
    output:
        model=directory(f"{ROOT}/runs/{{method}}-s{{seed}}/model"),
        metrics=f"{ROOT}/runs/{{method}}-s{{seed}}/metrics.jsonl",
        timings=f"{ROOT}/runs/{{method}}-s{{seed}}/timings.jsonl",
        events=directory(f"{ROOT}/runs/{{method}}-s{{seed}}/tensorboard"),
        settings=f"{ROOT}/runs/{{method}}-s{{seed}}/config.yaml",
        manifest=f"{ROOT}/runs/{{method}}-s{{seed}}/manifest.json",
    conda:
        "../../environment.yml"
    log:
        f"{ROOT}/logs/train/{{method}}-s{{seed}}.log",
    benchmark:
        f"{ROOT}/benchmarks/train/{{method}}-s{{seed}}.tsv"
    params:
        config=CONFIG,
        settings=lambda wildcards: EXPERIMENT.section("train", wildcards.method),
        problems=problems_option,
        out=subpath(output.manifest, parent=True),
        launcher=EXPERIMENT.train.launcher,
    threads: EXPERIMENT.train.threads * EXPERIMENT.train.world
    resources:
        gpu=EXPERIMENT.train.gpus,
        mem_mb=lambda wildcards, input: train_mb(input.base[0], EXPERIMENT.train),
    shell:
        "{params.launcher} -m kpo.train --config {params.config} --method {wildcards.method}"
        " --seed {wildcards.seed} --base {input.base} {params.problems} --out {params.out} 2> {log}"
