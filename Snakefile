# The whole pipeline: problems and base policy -> runs -> samples -> grades -> table.
#
#   snakemake --cores all results/table1.csv
#   snakemake --cores all results/table1.csv --configfile workflow/config/tiny-offpolicy.yaml
import os
import shlex

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from kpo.config.experiment import load_experiment
from kpo.config.file import ConfigError

min_version("9.0")

if not workflow.configfiles:

    configfile: "workflow/config/tiny.yaml"


if len(workflow.configfiles) > 1 or workflow.config_settings.config:
    raise WorkflowError(
        "An experiment is one file: give one --configfile, and no --config. A file can name"
        " another with `extends` and change some of its keys."
    )
CONFIG = os.path.relpath(workflow.configfiles[-1])
try:
    EXPERIMENT = load_experiment(CONFIG)
except ConfigError as error:
    raise WorkflowError(error) from None

report: "workflow/captions/report.rst"


rule all:
    input:
        "results/table1.csv",


include: "workflow/rules/common.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/tuning.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
