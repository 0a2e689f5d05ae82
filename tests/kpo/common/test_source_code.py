"""Hashes of code: what changes a result changes them, and nothing else does."""

from pathlib import Path

import pytest

from kpo.common import source_code
from kpo.common.manifest import TRAINER, trainer_code
from kpo.common.source_code import code_hash
from kpo.config.experiment import load_experiment
from kpo.registry import OBJECTIVES

FILES = {
    "kpo/__init__.py": "",
    "kpo/maths.py": "import math\nfrom kpo import branch\n\ndef half(x):\n    return x / 2\n",
    "kpo/other.py": "import kpo.maths\n",
    "kpo/branch.py": (
        "if TYPE_CHECKING:\n    kind = int\nelse:\n    kind = str\n"
        'if kind:\n    def one():\n        """Doc."""\n'
    ),
    "kpo/baselines/__init__.py": "",
    "kpo/baselines/unit.py": "one = 1\n",
    "kpo/baselines/parent.py": (
        "from kpo import maths\nfrom . import unit\n\nclass Parent:\n    scale = maths.half(2)\n"
    ),
    "kpo/baselines/child.py": (
        '"""Doc."""\n\nfrom .parent import Parent\n\nclass Child(Parent): ...\n'
    ),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(source_code, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("kpo/baselines/child.py", "...", "scale = 3"),
        ("kpo/baselines/parent.py", "(2)", "(3)"),  # the class that it extends
        ("kpo/maths.py", "x / 2", "x / 3"),  # what that imports
        ("kpo/baselines/unit.py", "1", "2"),
        ("kpo/__init__.py", "", "import os"),  # importing kpo.maths runs it
        ("kpo/branch.py", "str", "bytes"),  # what runs where types are not checked
    ],
)
def test_what_an_objective_uses_counts(project: Path, name: str, old: str, new: str) -> None:
    before = code_hash("kpo.baselines.child")
    (project / name).write_text(FILES[name].replace(old, new, 1))
    assert code_hash("kpo.baselines.child") != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kpo/other.py", "something = 1\n"),
        (
            "kpo/baselines/child.py",
            FILES["kpo/baselines/child.py"].replace("Doc.", "Better words."),
        ),
        ("kpo/baselines/child.py", "# A comment.\n" + FILES["kpo/baselines/child.py"]),
        ("kpo/maths.py", FILES["kpo/maths.py"].replace("x / 2", "(x\n        / 2)")),
        ("kpo/branch.py", FILES["kpo/branch.py"].replace("int", "float")),
        ("kpo/branch.py", FILES["kpo/branch.py"].replace("Doc.", "Better words.")),
    ],
)
def test_nothing_else_counts(project: Path, name: str, text: str) -> None:
    before = code_hash("kpo.baselines.child")
    (project / name).write_text(text)
    assert code_hash("kpo.baselines.child") == before


def test_modules_that_are_left_out(project: Path) -> None:
    before = code_hash("kpo.baselines.child", without={"kpo.baselines.parent"})
    (project / "kpo/maths.py").write_text("half = 1\n")
    assert code_hash("kpo.baselines.child", without={"kpo.baselines.parent"}) == before


def test_an_objective_from_elsewhere_counts_by_its_own_file() -> None:
    assert code_hash("json.decoder") != code_hash("json.encoder")
    with pytest.raises(ValueError, match="no source file"):
        code_hash("no_such_module")


def test_every_objective_has_a_hash_of_its_own() -> None:
    assert len({code_hash(kind.__module__) for kind in OBJECTIVES.values()}) == len(OBJECTIVES)


def copied(target: Path) -> None:
    """The project's sources, to be edited."""
    for path in source_code.ROOT.glob("[kbe]*/**/*.py"):
        copy = target / "kpo" / path.relative_to(source_code.ROOT).as_posix().removeprefix("kpo/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


OF_TINY = {
    method.objective for method in load_experiment("workflow/config/tiny.yaml").methods.values()
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new", "retrained", "trainer"),
    [
        (
            "kpo/baselines/gspo.py",
            "mean, self.clip_low",
            "2 * mean, self.clip_low",
            {"gspo"},
            False,
        ),
        ("kpo/kalman.py", "_CHUNK = 64", "_CHUNK = 32", {"kpo"}, False),
        ("kpo/objective.py", ".clamp(min=1)", ".clamp(min=2)", OF_TINY, True),
        ("kpo/trainer/step.py", "import torch\n", "import torch\nX = 1\n", set(), True),
        ("kpo/evals/grading/equivalence.py", "import re\n", "import re\nX = 1\n", set(), True),
        (
            "kpo/evals/tables.py",
            "from pathlib import Path\n",
            "from pathlib import Path\nX = 1\n",
            set(),
            False,
        ),
    ],
)
def test_an_edit_is_seen_by_the_methods_that_use_it_and_by_the_trainer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    old: str,
    new: str,
    retrained: set[str],
    trainer: bool,
) -> None:
    experiment = load_experiment("workflow/config/tiny.yaml")

    def hashes() -> dict[str, str]:
        methods = (experiment.section("train", m)["method"] for m in experiment.methods)
        return {method["objective"]: method["code"] for method in methods}

    before, before_trainer = hashes(), trainer_code()
    copied(tmp_path)
    monkeypatch.setattr(source_code, "ROOT", tmp_path)
    assert (hashes(), trainer_code()) == (before, before_trainer)
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    after = hashes()
    assert {objective for objective in before if after[objective] != before[objective]} == retrained
    assert (trainer_code() != before_trainer) is trainer


def test_the_trainer_is_there() -> None:
    for module in TRAINER:
        assert (source_code.ROOT / f"{module.replace('.', '/')}.py").is_file()
