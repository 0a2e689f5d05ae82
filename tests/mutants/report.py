"""What became of the faults that `make mutants` planted, module by module.

    python -m tests.mutants.report

A fault that no test can notice, as it changes no result, stands in equivalent.txt with the reason.
Two kinds count as much without standing there: the check of `zip(..., strict=True)` taken away, and
other letters in a sentence for the user.
Exits with 1 where fewer than 95 % of the others were noticed.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

FOLDER = Path("mutants")
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
WANTED = 0.95
UNNOTICED = {"survived", "no tests", "suspicious"}
Fault = tuple[str, tuple[str, ...]]
"""A function and the lines that changed, with - and +."""


def equivalent(path: Path = EQUIVALENT) -> dict[Fault, str]:
    """The faults of a list and why no test can notice them. Raises ValueError without a reason."""
    reasons = {}
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        name, *changes, reason = lines
        if not changes or not reason.startswith("why: "):
            raise ValueError(f"{path}: {name}: a function, its changes and `why: ...` are wanted")
        reasons[name, tuple(changes)] = reason
    return reasons


def function(mutant: str) -> str:
    """Where a mutant is: module.function or module.Class.method."""
    module, _, name = mutant.rpartition(".")
    name = name.partition("__mutmut_")[0].removeprefix("x")
    return f"{module}.{name.removeprefix('_').removeprefix('ǁ').replace('ǁ', '.')}"


def changes(diff: str) -> tuple[str, ...]:
    """The lines of a diff that changed, without their indentation."""
    lines = [line for line in diff.splitlines()[2:] if line[:1] in "+-"]  # below the file names
    return tuple(f"{line[0]} {line[1:].strip()}" for line in lines)


class _Unchecked(ast.NodeTransformer):
    """Makes alike the functions whose difference is no fault.

    `strict` of zip says what cannot be, so nothing can see it fail. The message of an exception or
    of a warning, and the help of an argument, may have other letters (XX around a piece, another
    case): a test that held every one would only repeat the sentence. What stands in braces stays
    as it is: a message without its value, or with another one, is a fault, and so is no message.
    """

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Of zip, of warnings and of arguments."""
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name == "zip":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "strict"]
        if name == "warnings.warn":
            _in_small_letters(node.args)
        _in_small_letters(keyword.value for keyword in node.keywords if keyword.arg == "help")
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        """Of exceptions."""
        self.generic_visit(node)
        if isinstance(node.exc, ast.Call):
            _in_small_letters(node.exc.args)
        return node


def _in_small_letters(arguments: Iterable[ast.expr]) -> None:
    """The sentences among them, without the XX that mutmut adds."""
    for said in arguments:
        for part in said.values if isinstance(said, ast.JoinedStr) else [said]:
            if isinstance(part, ast.Constant) and " " in str(part.value):
                part.value = str(part.value).replace("XX", "").lower()


def harmless(before: str, after: str) -> bool:
    """Whether two versions of a function differ in nothing that a test should notice."""
    one, other = (ast.dump(_Unchecked().visit(ast.parse(text))) for text in (before, after))
    return one == other


@cache
def functions(path: Path) -> dict[str, str]:
    """Those of a module that mutmut made, by name: each as it was and with each of its faults."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = {node.name: ast.unparse(node) for node in nodes if isinstance(node, ast.FunctionDef)}
    return {name: text.replace(f"def {name}(", "def function(") for name, text in found.items()}


def versions(mutant: str, path: Path) -> tuple[str, str]:
    """A function without and with its fault."""
    name = mutant.rpartition(".")[2]
    made = functions(path)
    return made[f"{name.partition('__mutmut_')[0]}__mutmut_orig"], made[name]


def outcomes(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Mutants that were run: name, file, status."""
    for path in sorted(folder.rglob("*.meta")):
        source = path.relative_to(folder).with_suffix("")
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            if (status := status_by_exit_code[code]) != "not checked":
                yield name, source, status


def show(heading: str, fault: Fault) -> None:
    """Print a fault."""
    print(heading, fault[0], *fault[1], sep="\n", end="\n\n")


def table(counts: Mapping[str, Counter[str]]) -> str:
    """A line for each module and one for all."""
    lines = [f"{'':28} noticed  unnoticed  equivalent"]
    for name, count in [*counts.items(), ("all", sum(counts.values(), Counter[str]()))]:
        noticed, unnoticed = count["noticed"], count["unnoticed"]
        share = noticed / max(1, noticed + unnoticed)
        lines.append(
            f"{name:28} {noticed:7}  {unnoticed:9}  {count['equivalent']:10}  {share:6.1%}"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the report; the exit code."""
    reasons, seen = equivalent(), set()
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for mutant, source, status in outcomes(FOLDER):
        verdict = "noticed"
        if status in UNNOTICED:
            fault = function(mutant), changes(get_diff_for_mutant(mutant, path=source))
            seen.add(fault)
            excused = fault in reasons or harmless(*versions(mutant, FOLDER / source))
            verdict = "equivalent" if excused else "unnoticed"
            if verdict == "unnoticed":
                show(f"{status}: {mutant}", fault)
        counts[str(source)][verdict] += 1
    modules = [name.removesuffix(".py").replace("/", ".") for name in counts]
    for fault in reasons:
        if fault not in seen and any(fault[0].startswith(f"{module}.") for module in modules):
            show("in equivalent.txt, but noticed or no longer there:", fault)
    print(table(counts))
    total = sum(counts.values(), Counter[str]())
    return int(total["noticed"] < WANTED * (total["noticed"] + total["unnoticed"]))


if __name__ == "__main__":
    sys.exit(main())
