"""Dockerfile and Apptainer definition: one set of steps, for which all that they need is copied."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
DOCKER = (REPO / "Dockerfile").read_text()
APPTAINER = (REPO / "workflow/containers/kpo-suite.def").read_text()
INSTALL = "workflow/containers/install.sh"


def copied_by_docker() -> set[str]:
    """What is there when the environment is made."""
    return set(re.findall(r"^COPY (\S+) ", DOCKER.partition("\nRUN ")[0], re.MULTILINE))


def copied_by_apptainer() -> set[str]:
    files = APPTAINER.partition("%files\n")[2].partition("\n\n")[0]
    pairs = [line.split() for line in files.splitlines()]
    assert all(there == f"/suite/{here}" for here, there in pairs)
    return {here for here, _ in pairs}


def test_both_are_made_alike() -> None:
    assert copied_by_docker() == copied_by_apptainer()
    assert re.findall(r"^From: (.*)|^FROM (.*)", f"{DOCKER}\n{APPTAINER}", re.MULTILINE) == [
        ("", "debian:bookworm-slim"),
        ("debian:bookworm-slim", ""),
    ]
    assert f'RUN {INSTALL} "$LOCK"' in DOCKER
    assert f"/suite/{INSTALL} {{{{ LOCK }}}}" in APPTAINER
    for recipe in (DOCKER, APPTAINER):
        assert re.findall(r"LOCK=(\w+)", recipe) == ["gpu", "cpu"]  # as an example, and the default


def test_rules_name_the_image_that_the_definition_makes() -> None:
    (image,) = re.findall(r'^container: "(.*)"', (REPO / "workflow/Snakefile").read_text(), re.M)
    assert f"apptainer build {image} workflow/containers/kpo-suite.def" in APPTAINER


@pytest.mark.parametrize("lock", ["cpu", "gpu"])
def test_what_is_copied_is_enough_to_make_the_environment(tmp_path: Path, lock: str) -> None:
    suite, programs = tmp_path / "suite", tmp_path / "bin"
    for name in copied_by_docker():
        (suite / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, suite / name)
    programs.mkdir()
    for program, script in {"apt-get": 'echo "$@" >&2', "rm": ":"}.items():
        (programs / program).write_text(f"#!/bin/sh\n{script}\n")
        (programs / program).chmod(0o755)
    call = subprocess.run(
        [suite / INSTALL, lock],
        env={"PATH": f"{programs}:/usr/bin:/bin", "MAKEFLAGS": "--dry-run"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert call.returncode == 0, call.stderr
    assert f'workflow/setup.sh {lock} "python3"' in call.stdout
    assert ("python3-dev" in call.stderr) == (lock == "gpu")
