"""What stands outside the code agrees with it: versions, lint and hooks, the catalogue's file."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from tests.configs import CONFIGS, REPO

PROJECT: dict[str, Any] = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def read(name: str) -> Any:
    """A YAML file."""
    return yaml.safe_load((REPO / name).read_text())


def test_one_version() -> None:
    citation = read("CITATION.cff")
    newest = re.findall(r"^## ([\d.]+)", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert PROJECT["version"] == citation["version"] == newest
    assert PROJECT["license"] == citation["license"]


def test_hooks_are_the_parts_of_make_lint() -> None:
    recipe = (REPO / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    parts = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]]
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert sorted(hook["entry"] for hook in local["hooks"]) == sorted(parts)
    assert all(hook["language"] == "system" for hook in local["hooks"])


def test_the_catalogue_finds_what_it_asks_for() -> None:
    usage = read(".snakemake-workflow-catalog.yml")["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} == usage.keys()
    assert (REPO / "workflow/Snakefile").is_file()
    assert (REPO / "config/README.md").is_file()  # by a link to workflow/config
    topics = (REPO / "README.md").read_text().partition("\nTopics: ")[2]
    assert "`snakemake-workflow`" in topics
    keywords = {word.lower().replace(" ", "-") for word in read("CITATION.cff")["keywords"]}
    assert {topic.strip("`\n") for topic in topics.split(", ")} == {*keywords, "snakemake-workflow"}
    assert sorted((REPO / "workflow/config").glob("*.yaml")) == sorted(CONFIGS)
    rules = "".join(path.read_text() for path in REPO.glob("workflow/rules/*.smk"))
    assert usage["software-stack-deployment"]["conda"] == ("conda:" in rules)


def test_conda_has_what_make_starts_from() -> None:
    environment = read("environment.yml")
    assert all(isinstance(line, str) for line in environment["dependencies"])  # nothing for its pip
    python, make = environment["dependencies"][:2]
    assert python in ("python=3.11", "python=3.12", "python=3.13")
    assert make == "make"
    assert environment["variables"] == {"PYTHON": python.replace("=", "")}
