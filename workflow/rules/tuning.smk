# Settings chosen per method by an experiment on validation problems, and what the experiment that
# follows from the choice says. Not part of `all`: asked for by name, one after the other.
from kpo.evals.tuning.chosen import is_comparison

if is_comparison(EXPERIMENT):

    rule tuned:
        input:
            tables=rules.tables.output,
            surface="results/tuning.csv",
        output:
            "results/tuned.csv",
        log:
            f"{ROOT}/logs/tuned.log",
        benchmark:
            f"{ROOT}/timings/tuned.tsv"
        params:
            config=uncompared(CONFIG),
        shell:
            "python -m kpo.evals.tuned --config {params.config:q} --results results"
            " --surface {input.surface} --out {output} > {log} 2>&1"

else:

    rule tune:
        input:
            rules.tables.output,
        output:
            surface="results/tuning.csv",
            chosen=f"{ROOT}/tuned.yaml",
        log:
            f"{ROOT}/logs/tune.log",
        benchmark:
            f"{ROOT}/timings/tune.tsv"
        params:
            config=uncompared(CONFIG),
        shell:
            "python -m kpo.evals.tune --config {params.config:q} --results results"
            " --surface {output.surface} --out {output.chosen} > {log} 2>&1"
