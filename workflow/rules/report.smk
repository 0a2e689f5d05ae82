# Pages of the experiment's tables, of its responses, and of what is kept in results/reference: what
# `make report` gathers in one file, with the figures. Not part of `all`.

PAGES = {
    "table1": "table1.md",
    "differences": "differences.csv",
    "aggregates": "aggregates.csv",
    "grid": "grid.csv",
    "training": "training.csv",
    "diagnostics": "diagnostics.csv",
    "tuning": "tuning.csv",
    "tuned": "tuned.csv",
    "shootout": "shootout.csv",
    "structure": "structure.csv",
    "deviations": "deviations.md",
    "manifests": "manifests.json",
}
OWN_PAGES = [page for page, file in PAGES.items() if file in (*FILES, "manifests.json")]


wildcard_constraints:
    page="|".join(PAGES),


rule manifests:
    input:
        rules.tables.input.evaluations,
        rules.tables.input.trainings,
        f"{ROOT}/base",
    output:
        f"{ROOT}/manifests.json",
    log:
        f"{ROOT}/logs/manifests.log",
    benchmark:
        f"{ROOT}/timings/manifests.tsv"
    params:
        root=subpath(output[0], parent=True),
    shell:
        "python -m kpo.evals.manifests --experiment {params.root} --out {output} 2> {log}"


rule page:
    input:
        unpack(lambda wildcards: sources(wildcards.root, {"file": PAGES[wildcards.page]})),
    output:
        report(
            "{root}/pages/{page}.html",
            caption="../captions/pages.rst",
            category=category,
            subcategory="Tables",
            labels={"table": "{page}"},
        ),
    log:
        "{root}/logs/pages/{page}.log",
    benchmark:
        "{root}/timings/pages/{page}.tsv"
    params:
        title=lambda wildcards: f"{category(wildcards)}: {wildcards.page}",
    shell:
        "python -m kpo.evals.page {input.file} --title {params.title:q} --out {output} 2> {log}"


rule responses:
    input:
        samples=[path.replace("grades.jsonl", "samples.jsonl") for path in GRADED],
        grades=GRADED,
        problems=rules.test_problems.output if EXPERIMENT.task else [],
    output:
        report(
            f"{ROOT}/pages/responses.html",
            caption="../captions/responses.rst",
            category=f"{EXPERIMENT.experiment} (this run)",
            subcategory="Responses",
            labels={"responses": "problem, gold, response, grade"},
        ),
    log:
        f"{ROOT}/logs/pages/responses.log",
    benchmark:
        f"{ROOT}/timings/pages/responses.tsv"
    params:
        config=uncompared(CONFIG),
        problems=problems_option,
    shell:
        "python -m kpo.evals.browse --config {params.config:q} --results results {params.problems}"
        " --out {output} 2> {log}"


rule reported:
    input:
        rules.table1.output,
        rules.figures.input,
        expand(f"{ROOT}/pages/{{page}}.html", page=OWN_PAGES),
        rules.responses.output,
        [
            f"{root}/pages/{page}.html"
            for root in KEPT
            for page, file in PAGES.items()
            if there(root, {"file": file})
        ],
        [
            f"{root}/figures/{figure}.png"
            for root in KEPT
            for figure, files in DRAWN.items()
            if there(root, files)
        ],
    localrule: True
