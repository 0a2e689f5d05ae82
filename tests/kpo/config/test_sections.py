"""What a change of a setting reruns."""

from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kpo.common.source_code import code_hash
from kpo.config.experiment import Experiment
from kpo.tasks.datasets.sources import SOURCES
from tests.kpo.config.experiments import DROP, GRPO, HUB, SCRATCH, Tree, changed, load


@cache
def once(modules: tuple[str, ...], without: frozenset[str]) -> str:
    return code_hash(*modules, without=without)


@pytest.fixture(autouse=True)
def _no_code_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So its hashes, which take most of a second a test, are made once."""

    def hashed(*modules: str, without: Collection[str] = ()) -> str:
        return once(modules, frozenset(without))

    for user in ("config.method", "tasks.task"):
        monkeypatch.setattr(f"kpo.{user}.code_hash", hashed)


STAGES = ("problems", "test_problems", "base", "data", "evaluate", "grade", "table")


def sections(experiment: Experiment) -> Iterator[tuple[str, Tree]]:
    for stage in STAGES:
        yield stage, experiment.section(stage)
    for method in experiment.methods:
        yield f"train {method}", experiment.section("train", method)


def rerun(folder: Path, before: Tree, after: Tree) -> set[str]:
    """Stages (and train of which method) that are there before and change, or go."""
    old, new = (dict(sections(load(folder, tree))) for tree in (before, after))
    return {stage for stage in old if old[stage] != new.get(stage)}


TRAIN = {"train grpo", "train kpo"}
CHANGES: list[tuple[Tree, str, Any, set[str]]] = [
    (SCRATCH, "experiment", "other", set()),
    (SCRATCH, "seeds", [0, 1, 2], {"table"}),
    (
        changed(SCRATCH, "train/max_prompt_tokens", 100),
        "prompt",
        "boxed",
        {"base", "evaluate", *TRAIN},
    ),
    (SCRATCH, "task/train", 5, {"problems"}),
    (SCRATCH, "task/test", 5, {"test_problems"}),
    (SCRATCH, "task/seed", 5, {"problems", "test_problems"}),
    (SCRATCH, "task/slip", 0.3, {"base"}),
    (SCRATCH, "task/held_out", "validation", {"test_problems"}),
    (
        SCRATCH,
        "task/tiers",
        {"easy": [4, 4], "hard": [7, 8]},
        {"problems", "test_problems", "base"},
    ),
    (SCRATCH, "policy/layers", 2, {"base"}),
    (SCRATCH, "policy/sft/seed", 2, {"base"}),
    (SCRATCH, "train/lr", 2e-4, TRAIN),
    (SCRATCH, "train/threads", 2, set()),
    (SCRATCH, "train/max_response_tokens", 200, TRAIN),
    (SCRATCH, "train/max_response_tokens", 300, {"base", *TRAIN}),  # more positions
    (SCRATCH, "evaluate/max_response_tokens", 300, {"base", "evaluate", "table"}),
    (SCRATCH, "evaluate/samples", 8, {"evaluate", "table"}),
    (SCRATCH, "evaluate/threads", 2, set()),
    (SCRATCH, "grading/timeout_s", 1.5, {"grade", *TRAIN}),  # rewards are grades
    (SCRATCH, "grading/rule", "math_verify", {"grade", *TRAIN}),
    (SCRATCH, "methods/kpo/train", {"lr": 2e-4}, {"train kpo", "table"}),
    (SCRATCH, "methods/kpo/q", 1e-4, {"train kpo", "table"}),
    (SCRATCH, "methods/kpo/label", "New", {"table"}),
    (SCRATCH, "methods/kpo/role", "control", {"table"}),
    (SCRATCH, "methods/kpo/control", "grpo", {"table"}),
    (SCRATCH, "compare", [{"rows": "all", "against": "base"}], {"table"}),
    (SCRATCH, "methods/kpo/role", "proposed", set()),  # the objective's own, spelled out
    (SCRATCH, "methods/more", GRPO, {"table"}),
    (SCRATCH, "methods/grpo", DROP, {"train grpo", "table"}),
    (SCRATCH, "methods/grpo/clip_low", 0.2, {"table"}),  # the default, spelled out
    (HUB, "policy/revision", "abc", {"base"}),
    (HUB, "prompt", "boxed", {"evaluate", *TRAIN}),
    (HUB, "data/train_folder", "data", {"data", *TRAIN}),
    (HUB, "data/benchmarks_folder", "data", {"evaluate"}),
    (HUB, "data/sources/gsm8k-train", {"hub": "a", "split": "b"}, {"data", *TRAIN}),
    (HUB, "data/sources/aime24", {"hub": "a", "split": "b"}, {"evaluate"}),
    (HUB, "data/sources/gsm8k-train", {"normaliser": "strip"}, {"data", *TRAIN}),
    (HUB, "data/sources/aime24", {"normaliser": None}, {"evaluate"}),
    (HUB, "data/sources/aime24", {"size": 7}, set()),
    (HUB, "data/sources/unused", {"hub": "a", "split": "b"}, set()),
    (HUB, "data/overlong", "refuse", TRAIN),
    *((HUB, f"data/{key}", "refuse", {"data"}) for key in ("duplicates", "contradictions")),
    (HUB, "data/unusable_golds", "drop", {"data"}),
    (HUB, "data/contamination", "keep", {"data"}),
    (HUB, "evaluate/benchmarks", ["aime24"], {"evaluate", "table"}),  # trains nothing again
]


@pytest.mark.parametrize(
    ("tree", "path", "value", "stages"), CHANGES, ids=[path for _, path, _, _ in CHANGES]
)
def test_a_change_reruns_what_depends_on_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tree: Tree,
    path: str,
    value: Any,
    stages: set[str],
) -> None:
    (tmp_path / "data").mkdir()
    for name in ("gsm8k-train", "aime24", "math500"):
        (tmp_path / "data" / f"{name}.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert rerun(tmp_path, tree, changed(tree, path, value)) == stages


def test_no_key_is_without_effect() -> None:
    """A new key of Experiment needs a stage that depends on it, and a line in CHANGES."""
    effective = {path.split("/")[0] for _, path, _, stages in CHANGES if stages}
    assert effective == set(Experiment.model_fields) - {"experiment"}


def test_a_training_section_records_the_objective_with_its_defaults(tmp_path: Path) -> None:
    experiment = load(tmp_path, SCRATCH)
    assert experiment.section("train", "grpo")["method"] == {
        "objective": "grpo",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "code": code_hash("kpo.baselines.grpo"),
    }
    kpo = experiment.section("train", "kpo")["method"]
    assert kpo["q"] == 1e-6
    assert kpo["memory"] == pytest.approx(1000, rel=1e-3)


# Every key of every section, by the jobs that depend on it

DEPEND = {
    "task": {"problems", "test_problems", "base"},
    "policy": {"base"},
    "train": {"train"},
    "evaluate": {"evaluate", "table"},
    "grading": {"grade", "train"},
    "data": {"data"},
}
"""The jobs that depend on a section, but for the keys below."""
EXCEPT: dict[str, set[str]] = {
    "task.train": {"problems"},
    "task.test": {"test_problems"},
    "task.seed": {"problems", "test_problems"},
    "task.slip": {"base"},
    "task.held_out": {"test_problems"},
    "train.threads": set(),  # how a run is carried out, not what comes out of it
    "train.checkpoint_every": set(),
    "train.stall_s": set(),
    "train.gpu_memory": set(),
    "train.tracker": set(),
    "train.problems": {"train", "data"},
    "evaluate.threads": set(),
    "evaluate.gpu_memory": set(),
    "data.train_folder": {"train", "data"},
    "data.benchmarks_folder": {"evaluate"},
    "data.sources": {"train", "data", "evaluate"},
    "data.overlong": {"train"},
}


def keys() -> Iterator[Any]:
    for tree, without in ((SCRATCH, "data"), (HUB, "task")):
        experiment = Experiment.model_validate(tree)
        for part in [part for part in DEPEND if part != without]:
            for key in type(getattr(experiment, part)).model_fields:
                kind = "scratch" if tree is SCRATCH else "hub"
                yield pytest.param(tree, f"{part}.{key}", id=f"{kind}-{part}.{key}")


def another(value: Any) -> Any:
    """A value of about the same kind; checks do not see it."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else "gsm8k"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(("tree", "path"), list(keys()))
def test_every_key_reaches_the_jobs_that_depend_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree, path: str
) -> None:
    for name in ("gsm8k-train", "aime24", "math500", "gsm8k"):
        (tmp_path / f"{name}.jsonl").touch()
    part, key = path.split(".")
    experiment = load(tmp_path, tree)
    section = getattr(experiment, part)
    value: Any = {
        "sources": dict.fromkeys(("gsm8k-train", "aime24"), SOURCES["minerva"]),
        "benchmarks": ["gsm8k"],
        "tiers": {"easy": (4, 4), "hard": (7, 8)},
        "train_folder": str(tmp_path),
        "benchmarks_folder": str(tmp_path),
    }.get(key, another(getattr(section, key)))
    changed_section = section.model_copy(update={key: value})
    after = dict(sections(experiment.model_copy(update={part: changed_section})))
    changed = {stage.split()[0] for stage, before in sections(experiment) if before != after[stage]}
    assert changed == EXCEPT.get(path, DEPEND[part]) - ({"data"} if tree is SCRATCH else set())
