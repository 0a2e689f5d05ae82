"""How tests and modules are cut: by subject, each at a length that can be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
LIMITS = {"kpo": 300, "baselines": 300, "evals": 300, "tests": 320}
REASON = "Longer than others:"
"""With this a module's docstring says why it is."""


def modules(folder: str) -> list[Path]:
    return sorted((REPO / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", LIMITS)
def test_a_module_that_is_long_says_why(folder: str) -> None:
    for path in modules(folder):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LIMITS[folder]:
            assert REASON in (ast.get_docstring(ast.parse(text)) or ""), path.relative_to(REPO)


def imported(path: Path) -> Iterator[str]:
    """The last parts of the names that a module imports, and imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            yield from (
                name.rpartition(".")[2] for name in [getattr(node, "module", None) or "", *names]
            )


def test_no_module_imports_a_test_module() -> None:
    tests = {path.stem for path in modules("tests") if path.stem.startswith("test_")}
    assert len(tests) > 50
    for path in modules("tests"):
        assert not tests & set(imported(path)), path.relative_to(REPO)
