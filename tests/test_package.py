"""The package: what a wheel holds, what it needs, and what packages of others add to it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.workspace import REPO, TEST_CONFIG, Workspace, forked_python

pytestmark = pytest.mark.slow
SITE = Path(sysconfig.get_path("purelib"))
OF_TORCH = (
    *("torch", "torchgen", "functorch", "typing_extensions.py", "sympy", "mpmath", "networkx"),
    *("filelock", "fsspec", "jinja2", "markupsafe"),
)
"""What an environment with nothing but torch holds."""
PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--no-input"]
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index"]
ALONE = """
import sys
import kpo
import kpo.registry
assert "torch" not in sys.modules
import torch
logprobs = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
batch = kpo.TokenBatch(logprobs, logprobs.detach() - 0.1, torch.ones(1), torch.ones(1, 3))
for name in kpo.registry.OBJECTIVES:
    settings = {"kpo": {"q": 1e-4}, "dr_grpo": {"length": 8}}.get(name, {})
    output = kpo.make_objective(name, **settings)(batch)
    (output.loss / output.count).backward()
output = kpo.KPO(memory=12, start="diffuse", clip_low=None, clip_high=None)(batch)
print(*[round(x, 4) for x in torch.autograd.grad(output.loss, logprobs)[0][0].tolist()])
ones = torch.ones(1, 3)
print(*[round(x, 4) for x in kpo.kalman_filter(ones, ones, q=0.5)[0].tolist()])
try:
    kpo.KPO(q=1e-6, clip_low=-1.0)
except ValueError as error:
    print(error)
print(sorted({"numpy", "pydantic", "transformers"} & sys.modules.keys()), kpo.__file__)
"""
PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "tempered"
version = "0.3"
[project.entry-points."kpo.objectives"]
tempered = "tempered:Tempered"
plain = "tempered:Plain"
gone = "tempered:Gone"
gspo = "tempered:Tempered"
[project.entry-points."kpo.tasks"]
other_sums = "tempered:OtherSums"
"""
TEMPERED = """
from dataclasses import dataclass
from typing import Annotated, Literal

import kpo
from kpo.tasks.chained_sums import ChainedSums


@dataclass(frozen=True, kw_only=True)
class Tempered(kpo.Settings):
    tau: Annotated[float, kpo.Within(gt=0, le=1)] = 0.5
    clip: float = 0.2

    def __call__(self, batch: kpo.TokenBatch) -> kpo.ObjectiveOutput:
        log_ratio = self.tau * kpo.token_log_ratio(batch)
        return kpo.clipped_surrogate(batch, log_ratio, self.clip, self.clip)


class Plain: ...


class OtherSums(ChainedSums):
    kind: Literal["other_sums"] = "other_sums"
"""


def run(
    *command: str, cwd: Path, path: str = "", python: Path = Path(sys.executable).parent
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    environment["PATH"] = f"{python}:{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def done(*command: str, cwd: Path, **how: Any) -> str:
    """What a command says that must work."""
    call = run(*command, cwd=cwd, **how)
    assert call.returncode == 0, call.stdout + call.stderr
    return call.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as an index would have it: from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    done(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder), cwd=REPO)
    (source,) = folder.glob("*.tar.gz")
    done(*PIP, "wheel", *OFFLINE, "-w", str(folder), str(source), cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_a_wheel_has_every_module_and_no_name_of_others(wheel: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = done(*listed, "kpo", "baselines", "evals", cwd=REPO)
    files = [path for path in tracked.split() if (REPO / path).is_file()]
    wanted = {path if path.startswith("kpo/") else f"kpo/{path}" for path in files}
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    assert wanted == inside
    assert {name.split("/")[0] for name in inside} == {"kpo"}
    assert len(names) == len(set(names))


def test_objectives_and_filter_need_torch_alone(wheel: Path, tmp_path: Path) -> None:
    done(*PIP, "install", *OFFLINE, "--target", str(tmp_path / "kpo"), str(wheel), cwd=tmp_path)
    only = tmp_path / "torch"
    only.mkdir()
    for name in OF_TORCH:
        (only / name).symlink_to(SITE / name)
    path = f"sys.path[:0] = [{str(only)!r}, {str(tmp_path / 'kpo')!r}]"
    said = done(
        *(sys.executable, "-I", "-S", "-W", "ignore", "-c", f"import sys; {path}\n{ALONE}"),
        cwd=tmp_path,
    ).splitlines()
    assert said[0] == "-0.3684 -0.3684 -0.3684"  # exp(0.1) / 3
    assert said[1] == "0.3333 0.6364 0.814"
    assert said[2] == "clip_low is -1.0, but must be greater than or equal to 0"
    assert said[3] == f"[] {tmp_path}/kpo/kpo/__init__.py"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A package of another, as one file; PYTHONPATH for it and for this checkout."""
    source, target = tmp_path_factory.mktemp("tempered"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "tempered.py").write_text(TEMPERED)
    done(*PIP, "install", *OFFLINE, "--target", str(target), str(source), cwd=source)
    return f"{REPO}:{target}"


def test_an_objective_and_a_task_of_another_package_join_the_table(
    installed: str, tmp_path: Path
) -> None:
    methods = {
        "grpo": TEST_CONFIG["methods"]["grpo"],
        "cool": {"label": "Cool", "objective": "tempered", "tau": 0.1},
    }
    task = {**TEST_CONFIG["task"], "kind": "other_sums"}
    workspace = Workspace(tmp_path, {**TEST_CONFIG, "methods": methods, "task": task})
    call = [sys.executable, "-m", "snakemake", *workspace.arguments("results/table1.csv")]
    done(*call, cwd=tmp_path, path=installed, python=forked_python())
    with (tmp_path / "results/table1.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"base", "grpo", "cool"}
    assert (rows["cool"]["tau"], rows["cool"]["clip"], rows["grpo"]["tau"]) == ("0.1", "0.2", "")


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        (
            "tempered",
            "tau=2.0",
            "objective tempered: tau is 2.0, but must be less than or equal to",
        ),
        ("plain", "", "objective plain: Plain must be a dataclass"),
        ("gone", "", "objective 'gone' of tempered 0.3 (tempered:Gone) cannot be imported"),
        ("gspo", "", "objective 'gspo' is offered by kpo and tempered 0.3 (tempered:Tempered)"),
        ("other", "", "unknown objective 'other'; there is cispo, dapo,"),
    ],
)
def test_what_is_wrong_with_a_foreign_objective_is_said(
    installed: str, tmp_path: Path, name: str, settings: str, words: str
) -> None:
    code = f"import kpo; kpo.make_objective({name!r}, {settings})"
    call = run(sys.executable, "-c", code, cwd=tmp_path, path=installed)
    assert words in call.stderr.splitlines()[-1]


def test_a_foreign_objective_is_hashed_with_what_it_uses(installed: str, tmp_path: Path) -> None:
    code = (
        "import kpo.registry, kpo.common.source_code as c\n"
        "made = kpo.make_objective('tempered')\n"
        "before = c.code_hash('tempered')\n"
        "c._file = lambda name, of=c._file: of('json' if name == 'kpo.objective' else name)\n"
        "print(before == c.code_hash('tempered'))"
    )
    assert done(sys.executable, "-c", code, cwd=tmp_path, path=installed) == "False\n"
