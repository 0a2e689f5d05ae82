# Samples and grades of every model, the base policy included.


rule sample:
    input:
        unpack(model_of),
        problems=rules.test_problems.output if EXPERIMENT.task else [],
    output:
        samples=f"{ROOT}/evals/{{run}}/samples.jsonl",
        manifest=f"{ROOT}/evals/{{run}}/manifest.json",
    conda:
        "../../environment.yml"
    log:
        f"{ROOT}/logs/sample/{{run}}.log",
    benchmark:
        f"{ROOT}/benchmarks/sample/{{run}}.tsv"
    params:
        config=uncompared(CONFIG),
        settings=EXPERIMENT.section("evaluate"),
        problems=problems_option,
        lease=uncompared(LEASE["sample"]),
    threads: EXPERIMENT.evaluate.threads
    resources:
        gpu=GPUS["sample"],
        mem_mb=lambda wildcards, input: sample_mb(input.model),
    shell:
        "{params.lease}python -m evals.sample --config {params.config:q} --run {wildcards.run}"
        " --model {input.model} {params.problems} --out {output.samples} > {log} 2>&1"


rule grade:
    input:
        rules.sample.output.samples,
    output:
        f"{ROOT}/evals/{{run}}/grades.jsonl",
    conda:
        "../../environment.yml"
    log:
        f"{ROOT}/logs/grade/{{run}}.log",
    benchmark:
        f"{ROOT}/benchmarks/grade/{{run}}.tsv"
    params:
        limits=f"--timeout-s {EXPERIMENT.grading.timeout_s} --memory-mb {EXPERIMENT.grading.memory_mb}",
        answers=PROTOCOLS[EXPERIMENT.prompt].answers,
        rule=EXPERIMENT.grading.rule,
        code=code_hash("evals.grade", "evals.grade_worker"),
    shell:
        "python -m evals.grade --samples {input} --out {output} --workers {threads}"
        " {params.limits} --answers {params.answers} --rule {params.rule} > {log} 2>&1"
