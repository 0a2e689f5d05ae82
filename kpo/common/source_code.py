"""The suite's own modules: where they are found, and which code a result is of, as a hash.

Comments, docstrings and layout do not count, so that rewording an objective trains nothing again.
Nothing is imported or run.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Collection, Iterator
from functools import cache
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path

from kpo import HOMES
from kpo.common.files import sha256_json

ROOT = Path(__file__).parents[2]


def python_path() -> str:
    """PYTHONPATH of a process that is to find these modules, wherever it works."""
    there = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys(filter(None, [str(ROOT), *there])))


def code_hash(*modules: str, without: Collection[str] = ()) -> str:
    """Hash of modules and of all modules of the project that they import, directly or not.

    Of a module that stands in another package, an objective that a user has installed, that
    package's own modules count too. `without` are modules that are left out, with what only they
    import. Raises ValueError for a module that has no source.
    """
    packages = {module.partition(".")[0] for module in modules} | {"kpo"}
    found: dict[str, str] = {}
    waiting: dict[str, Path] = {}
    for module in modules:
        source = _file(module)
        if source is None:
            raise ValueError(f"the module {module} has no source file")
        waiting[module] = source
    while waiting:
        name, path = waiting.popitem()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found[name], imports = _read(path.read_bytes(), path, package)
        for imported in imports:
            if imported.partition(".")[0] not in packages or imported in {*found, *without}:
                continue
            if file := _file(imported):
                waiting[imported] = file
    return sha256_json(found)


@cache
def _read(source: bytes, path: Path, package: str) -> tuple[str, frozenset[str]]:
    """What a module does, as text, and what it may import; read once, as all rows share most."""
    tree = _Running().visit(ast.parse(source, path))
    return ast.dump(tree), frozenset(_imports(tree, package))


class _Running(ast.NodeTransformer):
    """Takes off what does nothing: docstrings, and imports for types."""

    def visit_If(self, node: ast.If) -> ast.If | list[ast.stmt]:
        self.generic_visit(node)
        types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return node.orelse if types else node

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
            names = [HOMES.get(name.removeprefix("kpo."), name) for name in names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [HOMES[node.attr]] if node.value.id == "kpo" and node.attr in HOMES else []
        for name in names:
            yield from accumulate(name.split("."), "{}.{}".format)


def _file(module: str) -> Path | None:
    """The source of a module of the project, or of a package that is imported."""
    package, *parts = module.split(".")
    if package == "kpo":
        folders = [ROOT / package]
    else:
        imported = sys.modules.get(package)
        folders = [Path(folder) for folder in getattr(imported, "__path__", ())]
        if not parts and not folders:  # a module that stands alone
            source = getattr(imported, "__file__", None)
            return Path(source) if source else None
    paths = (folder.joinpath(*parts) for folder in folders)
    files = (
        file for path in paths for file in (path.with_name(f"{path.name}.py"), path / "__init__.py")
    )
    return next((file for file in files if file.is_file()), None)
