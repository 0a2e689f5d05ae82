# The entrance to workflow/Snakefile.
#
#   snakemake --cores all results/table1.csv
#   snakemake --cores all results/table1.csv --configfile workflow/config/tiny-offpolicy.yaml
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
