"""Which Python an environment is made with, and when it is made again: workflow/setup.sh."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
TOOLS = ["sh", "cat", "cmp", "cp", "dirname", "flock", "grep", "mkdir", "mv", "rm", "touch"]
PYTHON = """#!/bin/sh
# A Python of another version or machine; its environments and what they install are pretended.
case $1$2 in
-mvenv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
-mpip) echo "$*" >>pip.log ;;
-c*) code=$2 && shift 2 && exec {real} -c "
import ensurepip, platform, sys
sys.version_info = {version}
sys.platform, platform.machine = '{system}', lambda: '{machine}'
$code" "$@" ;;
esac
"""
UV = """#!/bin/sh
echo "$*" >>uv.log
[ "$2" = install ] || echo {python}
"""


class Machine:
    """A fresh clone on a machine with few commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (folder / "bin" / tool).symlink_to(found)
        shutil.copytree(REPO / "workflow/lock", folder / "workflow/lock")
        shutil.copy(REPO / "workflow/setup.sh", folder / "workflow")
        (folder / "workflow/lock/trl.txt").write_text("setuptools==1.0\ntorch==2.0+cpu\ntrl==1.0\n")

    def command(self, name: str, script: str) -> Path:
        """A command on the path, or elsewhere where its name is a path."""
        file = self.folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(script)
        file.chmod(0o755)
        return file

    def python(self, name: str, *version: int, place: str = "linux x86_64") -> Path:
        """A command that is CPython of this version."""
        system, machine = place.split()
        real = sys.executable
        return self.command(
            name, PYTHON.replace("{real}", real).replace("{version}", str((*version, 1)))
            .replace("{system}", system).replace("{machine}", machine)
        )  # fmt: skip

    def setup(self, kind: str = "trl", named: str = "") -> subprocess.CompletedProcess[str]:
        """What setup.sh says."""
        return subprocess.run(
            [self.folder / "workflow/setup.sh", kind, named],
            env={"PATH": str(self.folder / "bin")},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_that_works_is_taken(machine: Machine) -> None:
    machine.command(
        "python3.13", "#!/bin/sh\nexit 127\n"
    )  # pyenv's, of a version that is not there
    machine.python("python3.11", 3, 11)
    machine.python("python3.12", 3, 12)
    assert "with python3.12:" in machine.setup().stdout
    assert (machine.folder / ".venv-trl/.installed-trl").is_file()


def test_python3_is_taken_where_its_version_is_supported(machine: Machine) -> None:
    machine.python("python3", 3, 12)
    assert "with python3:" in machine.setup().stdout


@pytest.mark.parametrize(
    ("version", "place"),
    [((3, 14), "linux x86_64"), ((3, 10), "linux x86_64"), ((3, 12), "linux aarch64")],
)
def test_what_the_lock_is_not_for_is_refused(
    machine: Machine, version: tuple[int, int], place: str
) -> None:
    machine.python("python3", *version, place=place)
    call = machine.setup()
    assert call.returncode == 1
    assert call.stderr.startswith("workflow/lock/trl.txt is for CPython 3.11, 3.12 or 3.13 with")
    assert "Linux on x86-64, and none is found here" in call.stderr
    assert "'python3' is not that here" in machine.setup(named="python3").stderr


@pytest.mark.parametrize("place", ["linux aarch64", "darwin arm64", "linux x86_64"])
def test_without_vllm_there_are_more_machines(machine: Machine, place: str) -> None:
    machine.python("python3.13", 3, 13, place=place)
    assert machine.setup("no-vllm").returncode == 0
    asked = (machine.folder / "pip.log").read_text()
    assert "--no-deps -r .venv/torch.txt" in asked
    assert "torch==2.13.0 ; sys_platform" in (machine.folder / ".venv/torch.txt").read_text()


def test_an_intel_mac_has_no_torch(machine: Machine) -> None:
    machine.python("python3.13", 3, 13, place="darwin x86_64")
    assert "Linux or macOS on Apple silicon" in machine.setup("no-vllm").stderr


def test_a_named_python_is_taken_and_kept(machine: Machine) -> None:
    machine.python("python3.13", 3, 13)
    machine.python("python3.11", 3, 11)
    assert "with python3.11:" in machine.setup(named="python3.11").stdout
    assert not machine.setup(named="python3.11").stdout
    assert not machine.setup().stdout  # as the environment is there
    assert "with python3.13:" in machine.setup(named="python3.13").stdout


def test_another_lock_makes_the_environment_again(machine: Machine) -> None:
    machine.python("python3.12", 3, 12)
    assert machine.setup().stdout
    (machine.folder / "workflow/lock/trl.txt").write_text("setuptools==2.0\ntorch==2.0+cpu\n")
    assert machine.setup().stdout


def test_uv_provides_python_where_none_is_found(machine: Machine) -> None:
    python = machine.python("../elsewhere/python3.13", 3, 13)
    machine.command("uv", UV.format(python=python))
    assert f"with {python}:" in machine.setup().stdout
    said = (machine.folder / "uv.log").read_text().splitlines()
    assert said[0] == "python install 3.13"
    assert said[1].startswith("python find ")


def test_uv_is_not_asked_where_a_python_is_there_or_named(machine: Machine) -> None:
    machine.command("uv", "#!/bin/sh\necho asked >>uv.log\n")
    assert machine.setup(named="python3.12").returncode == 1
    machine.python("python3.12", 3, 12)
    assert machine.setup().returncode == 0
    assert not (machine.folder / "uv.log").exists()
