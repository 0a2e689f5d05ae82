# Problems (where the experiment has a task of its own), checks, base policy, one job per run.
#
# Whether a job runs again is decided by its settings and by the content of its files, not by what
# files are called or how jobs are started. Where all that a job takes from another is `ancient`,
# Snakemake drops the job when that other one has to run.


if EXPERIMENT.task:

    rule problems:
        output:
            f"{ROOT}/problems/train.jsonl",
        log:
            f"{ROOT}/logs/problems.log",
        benchmark:
            f"{ROOT}/timings/problems.tsv"
        params:
            config=uncompared(CONFIG),
            settings=EXPERIMENT.section("problems"),
            out=subpath(output[0], parent=True),
        shell:
            "python -m kpo.tasks.generate --config {params.config:q} --sets train"
            " --out {params.out} 2> {log}"

    rule test_problems:
        output:
            expand(f"{ROOT}/problems/{{tier}}.jsonl", tier=EXPERIMENT.task.tests),
        log:
            f"{ROOT}/logs/test_problems.log",
        benchmark:
            f"{ROOT}/timings/test_problems.tsv"
        params:
            config=uncompared(CONFIG),
            settings=EXPERIMENT.section("test_problems"),
            sets=EXPERIMENT.task.tests,
            out=subpath(output[0], parent=True),
        shell:
            "python -m kpo.tasks.generate --config {params.config:q} --sets {params.sets}"
            " --out {params.out} 2> {log}"


# The golds of problems from elsewhere, and room for their prompts. Training waits for it, but another
# list of benchmarks, or anything else of `evaluate`, must not train again, so it has no settings to
# compare; evaluation checks what it then reads and this has not checked.
rule benchmarks:
    input:
        # The hash alone is compared, as in training.
        model=ancient(f"{ROOT}/base"),
        content=f"{ROOT}/base.sha256",
    output:
        f"{ROOT}/benchmarks.json",
    log:
        f"{ROOT}/logs/benchmarks.log",
    benchmark:
        f"{ROOT}/timings/benchmarks.tsv"
    params:
        config=uncompared(CONFIG),
    shell:
        "python -m kpo.evals.benchmarks --config {params.config:q} --model {input.model}"
        " --out {output} 2> {log}"


# The training set, without the rows that would spoil it, for problems from elsewhere. Whether they
# hold a benchmark's is looked for too, but another list of benchmarks must not train again either:
# the record says which were looked for, and tables name those that were not.
rule data:
    output:
        problems=f"{ROOT}/data/problems.jsonl",
        dropped=f"{ROOT}/data/dropped.jsonl",
        record=f"{ROOT}/data/data.json",
        content=f"{ROOT}/data/content.sha256",
    log:
        f"{ROOT}/logs/data.log",
    benchmark:
        f"{ROOT}/timings/data.tsv"
    threads: 2
    params:
        config=uncompared(CONFIG),
        settings=EXPERIMENT.section("data"),
        out=subpath(output.problems, parent=True),
    shell:
        "python -m kpo.tasks.training_set --config {params.config:q} --workers {threads}"
        " --out {params.out} 2> {log}"


rule base:
    output:
        model=directory(f"{ROOT}/base"),
        content=f"{ROOT}/base.sha256",
    log:
        f"{ROOT}/logs/base.log",
    benchmark:
        f"{ROOT}/timings/base.tsv"
    threads: EXPERIMENT.train.threads
    resources:
        gpu=GPUS["base"],
        mem_mb=base_mb(EXPERIMENT.policy),
    params:
        config=uncompared(CONFIG),
        settings=EXPERIMENT.section("base"),
        lease=uncompared(LEASE["base"]),
    shell:
        "{params.lease}python -m kpo.base --config {params.config:q} --out {output.model} 2> {log}"


rule train:
    input:
        # A base policy that was made anew is the old one if its hash is.
        base=ancient(rules.base.output.model),
        content=rules.base.output.content,
        problems=rules.problems.output if EXPERIMENT.task else [ancient(rules.data.output.problems)],
        data=[] if EXPERIMENT.task else rules.data.output.content,
        golds=[] if EXPERIMENT.task else rules.benchmarks.output,
    output:
        model=directory(f"{ROOT}/runs/{{method}}-s{{seed}}/model"),
        metrics=f"{ROOT}/runs/{{method}}-s{{seed}}/metrics.jsonl",
        timings=f"{ROOT}/runs/{{method}}-s{{seed}}/timings.jsonl",
        events=directory(f"{ROOT}/runs/{{method}}-s{{seed}}/tensorboard"),
        dropped=f"{ROOT}/runs/{{method}}-s{{seed}}/dropped.jsonl",
        settings=f"{ROOT}/runs/{{method}}-s{{seed}}/config.yaml",
        manifest=f"{ROOT}/runs/{{method}}-s{{seed}}/manifest.json",
    log:
        f"{ROOT}/logs/train/{{method}}-s{{seed}}.log",
    benchmark:
        f"{ROOT}/timings/train/{{method}}-s{{seed}}.tsv"
    priority: 1  # before evaluations, which then wait for one another's engine
    threads: EXPERIMENT.train.threads * EXPERIMENT.train.per_node
    resources:
        **ON_NODES,
        gpu=GPUS["train"],
        mem_mb=lambda wildcards, input: train_mb(input.base, EXPERIMENT.train),
    params:
        config=uncompared(CONFIG),
        settings=lambda wildcards: EXPERIMENT.section("train", wildcards.method),
        problems=problems_option,
        out=subpath(output.manifest, parent=True),
        lease=uncompared(LEASE["train"]),
        launcher=uncompared(EXPERIMENT.train.launcher),
    shell:
        # exec: a signal to the job reaches the run, not a shell that dies of it and leaves it behind
        "exec {params.lease}{params.launcher} -m kpo.train --config {params.config:q}"
        " --method {wildcards.method} --seed {wildcards.seed} --base {input.base}"
        " {params.problems} --out {params.out} 2> {log}"
