"""Which code a result is of: hashes of the project's own modules, by what their source says.

Comments, docstrings and layout do not count, so that rewording an objective trains nothing again.
Nothing is imported or run.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from kpo.common.files import sha256_json

ROOT = Path(__file__).parents[2]


def code_hash(*modules: str, without: Collection[str] = ()) -> str:
    """Hash of modules and of all modules of the project that they import, directly or not.

    `without` are modules that are left out, with what only they import. Raises ValueError for a
    module that has no source.
    """
    return sha256_json({name: _meaning(tree) for name, tree in _closure(modules, without).items()})


def _closure(modules: Sequence[str], without: Collection[str]) -> dict[str, ast.Module]:
    """The syntax trees of modules and, of those that they reach, the project's."""
    found: dict[str, ast.Module] = {}
    waiting = {module: _file(module) or _loaded(module) for module in modules}
    while waiting:
        name, path = waiting.popitem()
        found[name] = ast.parse(path.read_bytes(), path)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(found[name], package):
            file = _file(imported)
            if file and imported not in found and imported not in without:
                waiting[imported] = file
    return found


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Every module that may be imported somewhere in the tree, with the packages above it."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file(module: str) -> Path | None:
    """The source of a module of the project; None for any other."""
    path = ROOT.joinpath(*module.split("."))
    files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _loaded(module: str) -> Path:
    """The source of a module from elsewhere, as of an objective that another package brings."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        raise ValueError(f"the module {module} has no source file")
    return Path(file)


def _meaning(tree: ast.Module) -> str:
    """The tree as text, without docstrings: statements that are a string and nothing else."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
