# Figures of the experiment, and of what is kept in results/reference, from their CSV files. Not part of
# `all`: `snakemake figures` draws those of the experiment's tables.
import glob

from kpo.evals.figures import STALE

# What is kept is drawn elsewhere, so that results/reference stays as it is.
KEPT = {"results/kept": "results/reference"} | {
    f"results/kept/{os.path.basename(folder)}": folder
    for folder in sorted(filter(os.path.isdir, glob.glob("results/reference/*")))
}
SOURCES = {ROOT: ROOT, **KEPT}
TITLES = {
    "learning": "learning curves",
    "grid": "rewards and collapse",
    "pass-share": "what the filters let through",
    "forest": "differences",
    "tuning": "tuning surface",
    "shootout": "estimators of the gradient",
    "structure": "structure in log-ratios",
    "autocorrelation": "autocorrelation of log-ratios",
    "collapse": "when runs collapse",
}
DRAWN = {
    "learning": {"curves": "curves.csv", "grid": "grid.csv"},
    "grid": {"grid": "grid.csv"},
    "pass-share": {"grid": "grid.csv"},
    "forest": {"differences": "differences.csv"},
    "tuning": {"surface": "tuning.csv"},
    "shootout": {"shootout": "shootout.csv"},
    "structure": {"structure": "structure.csv"},
    "autocorrelation": {"structure": "structure.csv"},
    "collapse": {"grid": [f"{name}/grid.csv" for name in STALE if f"results/kept/{name}" in KEPT]},
}
MORE = {"grid": "--column reward_last5_% collapsed_%"}
OF_TABLES = ["learning", "grid", "pass-share", *(["forest"] if EXPERIMENT.compared else [])]


wildcard_constraints:
    root="|".join(SOURCES),
    figure="|".join(DRAWN),


rule draw:
    input:
        unpack(lambda wildcards: sources(wildcards.root, DRAWN[wildcards.figure])),
    output:
        report(
            "{root}/figures/{figure}.png",
            caption="../captions/figures.rst",
            category=category,
            subcategory="Figures",
            labels=lambda wildcards: {"figure": TITLES[wildcards.figure]},
        ),
        "{root}/figures/{figure}.svg",
    log:
        "{root}/logs/figures/{figure}.log",
    benchmark:
        "{root}/timings/figures/{figure}.tsv"
    params:
        files=options,
        more=lambda wildcards: MORE.get(wildcards.figure, ""),
    shell:
        "python -m kpo.evals.figure {wildcards.figure} {params.files} {params.more} --out {output}"
        " > {log} 2>&1"


rule figures:
    input:
        expand(f"{ROOT}/figures/{{figure}}.png", figure=OF_TABLES),
    localrule: True
