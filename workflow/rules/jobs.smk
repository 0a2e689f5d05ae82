# What a profile asks for each job: `jobs` of its `config`, by rule, and of `all` rules. It lies there as
# the command line replaces other lists of a profile, which would lose all that it does not repeat.
from snakemake.resources import Resources

from kpo.planning.asked import asked

for made in workflow.rules:
    told = workflow.resource_settings.overwrite_resources.get(made.name, {})
    row = asked(config.get("jobs", {}), made.name, made.resources, told)
    if image := row.pop("container", None):
        made.container_img = image
    made.resources.update(Resources.from_mapping(row))
