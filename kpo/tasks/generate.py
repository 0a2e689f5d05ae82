"""Write the problems of an experiment's task, one file a set.

python -m kpo.tasks.generate --config workflow/config/tiny.yaml --out results/tiny/problems
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.common.files import write_jsonl
from kpo.config.cli import experiment_parser
from kpo.config.experiment import load_experiment
from kpo.tasks.task import TRAIN, Task


def write_problems(task: Task, out: Path, sets: Collection[str] | None = None) -> None:
    """Write <set>.jsonl of `sets`, by default of all, with the keys id, problem, answer.

    Nothing is written before all sets are made and checked. Raises UserError for a set of another
    size, a text that stands twice or is longer than promised, and a training problem that a test
    set holds too.
    """
    made = {name: list(task.problems(name)) for name in task.sets}
    trained = {text for text, _ in made[TRAIN]}
    for name, pairs in made.items():
        texts = {text for text, _ in pairs}
        faults = {
            f"has {len(pairs)} problems, not {task.size(name)}": len(pairs) != task.size(name),
            "repeats a problem": len(texts) < len(pairs),
            f"holds an empty problem, or one of more than {task.longest} characters": any(
                not 0 < len(text) <= task.longest for text in texts
            ),
            f"holds problems of {TRAIN}": name != TRAIN and texts & trained,
        }
        if fault := next((fault for fault, present in faults.items() if present), None):
            raise UserError(f"task {task.kind}: the set {name} {fault}")
    for name in sets or task.sets:
        made_set = enumerate(made[name])
        rows = ({"id": f"{name}/{i}", "problem": p, "answer": gold} for i, (p, gold) in made_set)
        write_jsonl(out / f"{name}.jsonl", rows)


@command
def main() -> None:
    """Command line."""
    parser = experiment_parser(
        "kpo.tasks.generate",
        "Write the problems of the experiment's task: train.jsonl and one file for"
        " each test set, with the keys id, problem, answer.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="default: all")
    args = parser.parse_args()
    task = load_experiment(args.config).task
    if task is None:
        raise UserError(f"{args.config} has no task section")
    if unknown := [name for name in args.sets or () if name not in task.sets]:
        raise UserError(f"--sets: no set {unknown[0]!r}; there is {', '.join(task.sets)}")
    write_problems(task, args.out, args.sets)


if __name__ == "__main__":
    main()
