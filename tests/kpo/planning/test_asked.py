"""What a profile asks for each rule: below the command line, key by key."""

from __future__ import annotations

from typing import Any

import pytest
from snakemake.resources import Resources

from kpo.planning.asked import asked

JOBS = {
    "all": {"slurm_partition": "cpu", "slurm_account": "project", "slurm_extra": "--nice"},
    "train": {"runtime": "60", "slurm_partition": "gpu", "slurm_extra": "--signal=TERM@300"},
    "grade": None,
}


def given(*command_line: str) -> Resources:
    """As Snakemake reads them."""
    return Resources.parse(list(command_line), allow_expressions=True)


@pytest.mark.parametrize(
    ("rule", "own", "told", "row"),
    [
        (
            "train",
            given(),
            (),
            {
                **{"slurm_partition": "gpu", "slurm_account": "project", "runtime": 60},
                "slurm_extra": "--nice --signal=TERM@300",
            },
        ),
        ("grade", given(), (), JOBS["all"]),
        ("tables", given(), (), JOBS["all"]),
        # --default-resources come before `all`, but not before what is said of a rule
        (
            "train",
            given("slurm_partition=long", "slurm_account=mine"),
            (),
            {"slurm_partition": "gpu", "runtime": 60, "slurm_extra": "--nice --signal=TERM@300"},
        ),
        # --set-resources, which the rule then has, come before both
        (
            "train",
            given("runtime=5", "slurm_account=mine"),
            {"runtime"},
            {"slurm_partition": "gpu", "slurm_extra": "--nice --signal=TERM@300"},
        ),
        # options are added up, wherever they stand
        (
            "train",
            given("slurm_extra='--mem-bind=local --x'", "slurm_account=mine"),
            {"slurm_extra"},
            {
                **{"slurm_partition": "gpu", "runtime": 60},
                "slurm_extra": "--nice --signal=TERM@300 --mem-bind=local --x",
            },
        ),
    ],
)
def test_what_is_asked(rule: str, own: Resources, told: set[str], row: dict[str, Any]) -> None:
    assert asked(JOBS, rule, own, told) == row  # type: ignore[arg-type]


def test_without_a_table_nothing_is() -> None:
    assert asked({}, "train", given("slurm_extra=--x"), ()) == {"slurm_extra": "--x"}
    assert asked({}, "train", given(), ()) == {}
