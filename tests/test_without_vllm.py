"""Where vLLM cannot be had, as on macOS: transformers samples, and what is made says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workspace import REPO, TEST_CONFIG, Workspace

pytestmark = pytest.mark.slow
ELSEWHERE = """
import os, sys
sys.modules["vllm"] = None  # neither imported nor found
del os.sched_getaffinity  # Linux alone has it
"""
ASKED = {key: value for key, value in TEST_CONFIG["evaluate"].items() if key != "engine"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A table whose experiment file names no engine, made on such a machine."""
    folder = tmp_path_factory.mktemp("elsewhere")
    methods = {"grpo": TEST_CONFIG["methods"]["grpo"]}
    workspace = Workspace(folder, {**TEST_CONFIG, "evaluate": ASKED, "methods": methods})
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(ELSEWHERE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    call = subprocess.run(
        [sys.executable, "-m", "snakemake", *workspace.arguments("results/table1.csv")],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": f"{REPO}:{folder / 'site'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert call.returncode == 0, call.stderr
    return workspace


def test_manifest_and_table_say_which_engine_sampled(made: Workspace) -> None:
    evals = made.folder / "results/test/evals"
    for run in ("base", "grpo-s0"):
        manifest = json.loads((evals / run / "manifest.json").read_text())
        assert manifest["protocol"]["engine"]["name"] == "transformers"
    table = (made.folder / "results/table1.md").read_text()
    assert "Answers were sampled with transformers, as vLLM was not installed" in table
    assert "engine.name = transformers" in table


def test_with_vllm_they_are_sampled_again(made: Workspace) -> None:
    evaluate = {**ASKED, "engine": "vllm"}  # what naming none means where it is installed
    methods = {"grpo": TEST_CONFIG["methods"]["grpo"]}
    made.write({**TEST_CONFIG, "evaluate": evaluate, "methods": methods})
    jobs = made.planned("results/table1.csv")
    assert jobs["sample"] == 2
    assert "train" not in jobs
