"""Commands answer `--help`, and experiment files are checked, without what takes long to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.configs import CONFIGS, REPO

COMMANDS = sorted(
    ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__main__")
    for room in ("kpo", "evals")
    for path in (REPO / room).rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text() and "parse_args(" in path.read_text()
)
SLOW = ("torch", "transformers", "vllm", "datasets", "sympy", "math_verify")
REPORT = f"import sys; sys.stderr.write(' '.join(set({SLOW}) & set(sys.modules)))"
HELP = f"""
import atexit, runpy, sys
atexit.register(lambda: exec({REPORT!r}))
sys.argv = [sys.argv[1], "--help"]
runpy.run_module(sys.argv[0], run_name="__main__")
"""
CHECK = """
import sys
from kpo.config.experiment import load_experiment
from kpo.planning import job_memory
for path in sys.argv[1:]:
    load_experiment(path)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


def test_there_are_commands() -> None:
    assert {"kpo.train", "kpo.base", "kpo.devices", "evals.sample", "evals.grade"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_comes_at_once(module: str) -> None:
    done = run(HELP, module)
    assert done.returncode == 0
    assert "usage: python -m " + module in done.stdout
    assert done.stderr == ""


def test_files_are_checked_at_once() -> None:
    done = run(CHECK + REPORT, *map(str, CONFIGS))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_report_would_tell() -> None:
    assert run("import sympy; " + REPORT).stderr == "sympy"
