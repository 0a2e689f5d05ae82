"""Which code a result is of: hashes of the project's own modules, by what their source says.

Comments, docstrings and layout do not count, so that rewording an objective trains nothing again.
Nothing is imported or run.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path

from kpo.common.files import sha256_json

ROOT = Path(__file__).parents[2]


def code_hash(*modules: str, without: Collection[str] = ()) -> str:
    """Hash of modules and of all modules of the project that they import, directly or not.

    `without` are modules that are left out, with what only they import. Raises ValueError for a
    module that has no source.
    """
    found: dict[str, str] = {}
    waiting: dict[str, Path] = {}
    for module in modules:  # an objective may come from another package
        source = _file(module) or getattr(sys.modules.get(module), "__file__", None)
        if source is None:
            raise ValueError(f"the module {module} has no source file")
        waiting[module] = Path(source)
    while waiting:
        name, path = waiting.popitem()
        tree = _WithoutTexts().visit(ast.parse(path.read_bytes(), path))
        found[name] = ast.dump(tree)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(tree, package):
            file = _file(imported)
            if file and imported not in found and imported not in without:
                waiting[imported] = file
    return sha256_json(found)


class _WithoutTexts(ast.NodeTransformer):
    """Takes docstrings off: statements that are a text and nothing else."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Every module that may be imported somewhere in the tree, with the packages above it."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (f"{node.module}." if node.module else "")
            names = [resolve_name(module + alias.name, package) for alias in node.names]
        for name in names:
            yield from accumulate(name.split("."), "{}.{}".format)


def _file(module: str) -> Path | None:
    """The source of a module of the project; None for any other."""
    path = ROOT.joinpath(*module.split("."))
    files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)
