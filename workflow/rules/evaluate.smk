# Samples and grades of every model, the base policy included.


# Says which models are to be sampled, and that they are there. An engine takes longer to start than
# a small model takes to be sampled: the job that has one goes on with the others (--queue).
rule ask:
    input:
        unpack(model_of),
    output:
        temp(f"{ROOT}/evals/{{run}}/asked"),
    log:
        f"{ROOT}/logs/ask/{{run}}.log",
    benchmark:
        f"{ROOT}/timings/ask/{{run}}.tsv"
    priority: 2
    localrule: True
    shell:
        "echo {input.model:q} > {output} 2> {log}"


rule sample:
    input:
        unpack(model_of),
        asked=rules.ask.output if QUEUE else [],
        problems=rules.test_problems.output if EXPERIMENT.task else [],
        golds=[] if EXPERIMENT.task else rules.benchmarks.output,
    output:
        samples=f"{ROOT}/evals/{{run}}/samples.jsonl",
        manifest=f"{ROOT}/evals/{{run}}/manifest.json",
    log:
        f"{ROOT}/logs/sample/{{run}}.log",
    benchmark:
        f"{ROOT}/timings/sample/{{run}}.tsv"
    threads: EXPERIMENT.evaluate.threads
    resources:
        gpu=GPUS["sample"],
        mem_mb=lambda wildcards, input: sample_mb(input.model),
    params:
        config=uncompared(CONFIG),
        settings=EXPERIMENT.section("evaluate"),
        problems=problems_option,
        lease=uncompared(LEASE["sample"]),
        queue=uncompared(QUEUE),
        checked=uncompared("" if EXPERIMENT.task else f"--checked {rules.benchmarks.output}"),
    shell:
        "{params.lease}python -m kpo.evals.sample --config {params.config:q} --run {wildcards.run}"
        " --model {input.model} {params.problems} {params.checked} {params.queue}"
        " --out {output.samples} > {log} 2>&1"


rule grade:
    input:
        rules.sample.output.samples,
    output:
        f"{ROOT}/evals/{{run}}/grades.jsonl",
    log:
        f"{ROOT}/logs/grade/{{run}}.log",
    benchmark:
        f"{ROOT}/timings/grade/{{run}}.tsv"
    params:
        limits=f"--timeout-s {EXPERIMENT.grading.timeout_s} --memory-mb {EXPERIMENT.grading.memory_mb}",
        answers=PROTOCOLS[EXPERIMENT.prompt].answers,
        rule=EXPERIMENT.grading.rule,
        settings=EXPERIMENT.section("grade"),
        # What a task's own grade depends on stands in its settings.
        code=code_hash(
            "kpo.evals.grade",
            "kpo.evals.grading.worker",
            without={"kpo.config.experiment", "kpo.tasks.task"},
        ),
        task=uncompared(f"--config {shlex.quote(CONFIG)}" if EXPERIMENT.grades_itself else ""),
    shell:
        "python -m kpo.evals.grade --samples {input} --out {output} --workers {threads}"
        " {params.limits} --answers {params.answers} --rule {params.rule} {params.task} > {log} 2>&1"
