"""The manifest: which code, packages, hardware and settings an artefact is of."""

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kpo.common import manifest
from kpo.common.files import sha256_json
from kpo.common.manifest import Manifest, git_state, package_versions
from kpo.config.experiment import load_experiment

EXPERIMENT = load_experiment("workflow/config/tiny.yaml")


def write(path: Path, settings: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    Manifest(EXPERIMENT.experiment, settings or {}).finish(path, **more)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_a_manifest_records_no_value_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("HF_TOKEN", "WANDB_API_KEY", "HF_HOME", "HTTPS_PROXY", "SOME_PASSWORD", "USER")
    for name in names:
        monkeypatch.setenv(name, f"/value-of-{name}")
    write(tmp_path / "manifest.json", EXPERIMENT.section("train", "gspo"), seed=3)
    assert "value-of-" not in (tmp_path / "manifest.json").read_text()


def test_what_a_manifest_holds(tmp_path: Path) -> None:
    settings = EXPERIMENT.section("train", "gspo")
    content = write(tmp_path / "manifest.json", settings, seed=3, weights="abc")
    assert list(content) == [
        "experiment",
        "settings_sha256",
        "started",
        "git",
        "packages",
        "hardware",
        "wall_time_s",
        "seed",
        "weights",
    ]
    assert content["experiment"] == "tiny"
    assert content["settings_sha256"] == sha256_json(settings)
    assert datetime.fromisoformat(content["started"]).utcoffset() is not None
    assert set(content["git"]) == {"commit", "dirty"}
    assert {"python", "torch", "transformers"} <= set(content["packages"])
    assert content["hardware"]["cores"] >= 1
    assert 0 <= content["wall_time_s"] < 60
    assert (content["seed"], content["weights"]) == (3, "abc")


def test_other_settings_have_another_hash(tmp_path: Path) -> None:
    hashes = {
        write(tmp_path / "m.json", EXPERIMENT.section("train", method))["settings_sha256"]
        for method in EXPERIMENT.methods
    }
    assert len(hashes) == len(EXPERIMENT.methods)


def test_the_wall_time_is_that_of_the_work(tmp_path: Path) -> None:
    made = Manifest("tiny", {})
    made.started -= 100
    made.finish(tmp_path / "m.json")
    written = json.loads((tmp_path / "m.json").read_text())
    assert written["wall_time_s"] == pytest.approx(100, abs=1)


def test_packages_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "PACKAGES", ("torch", "no-such-package"))
    assert set(package_versions()) == {"python", "torch"}


# The state of the code


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of its own, in which the package is made to lie."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    package = tmp_path / "repository" / "kpo"
    package.mkdir(parents=True)
    (package / "manifest.py").write_text("first")
    monkeypatch.setattr(manifest, "__file__", str(package / "manifest.py"))
    return package.parent


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    run = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def test_a_clean_tree(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit(repository)
    monkeypatch.chdir("/")  # wherever it is asked from
    assert git_state() == {"commit": head, "dirty": False}


@pytest.mark.parametrize("file", ["kpo/common/manifest.py", "kpo/new.py", "workflow/new.yaml"])
def test_a_changed_or_a_new_file_makes_it_dirty(repository: Path, file: str) -> None:
    head = commit(repository)
    (repository / file).parent.mkdir(exist_ok=True)
    (repository / file).write_text("second")
    assert git_state() == {"commit": head, "dirty": True}


def test_ignored_results_do_not_make_it_dirty(repository: Path) -> None:
    (repository / ".gitignore").write_text("/results/*\n")
    head = commit(repository)
    (repository / "results").mkdir()
    (repository / "results" / "table1.csv").touch()
    assert git_state() == {"commit": head, "dirty": False}


NOTHING = {"commit": None, "dirty": None}


def test_no_repository(repository: Path) -> None:
    assert git_state() == NOTHING


def test_no_commit_yet(repository: Path) -> None:
    git(repository, "init", "-q")
    assert git_state() == NOTHING


def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(repository)
    monkeypatch.setenv("PATH", str(repository))
    assert git_state() == NOTHING
