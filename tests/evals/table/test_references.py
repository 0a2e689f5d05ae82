"""What rows are set against: the first baseline, and the best by avg@k, where these differ."""

from collections.abc import Callable
from pathlib import Path

from kpo.evals.table.documents import MARK, markdown
from tests.evals.demo import read_rows, table_of, write_rows

Answer = Callable[[int, int], bool]
"""Whether sample j of problem i is right."""


def answer(root: Path, method: str, correct: Answer) -> None:
    """Have all runs of a method answer alike."""
    for path in (root / "results/demo/evals").glob(f"{method}-s*/grades.jsonl"):
        told = {"status": "ok", "extracted": "7", "finish": "stop"}
        rows = [{**row, **told} for row in read_rows(path)]
        for row in rows:
            row["correct"] = correct(int(row["id"].removeprefix("p")), row["sample"])
        write_rows(path, rows)


def test_the_best_baseline_is_the_best_by_avg_whatever_its_pass(root: Path) -> None:
    answer(root, "grpo", lambda _, sample: sample == 0)  # avg@4 25 %, pass@4 100 %
    answer(root, "gspo", lambda problem, _: problem % 2 == 0)  # both about 50 %
    table = table_of(root)
    assert (table.first, table.best) == ("grpo", "gspo")


def test_noise_is_marked_against_the_first_baseline_and_not_the_best(root: Path) -> None:
    for method in ("grpo", "kpo-clipped"):
        answer(root, method, lambda problem, _: problem == 0)
    for method in ("gspo", "kpo-unclipped"):
        answer(root, method, lambda problem, _: problem > 0)
    table = table_of(root)
    assert (table.first, table.best) == ("grpo", "gspo")
    grid = next(block for block in markdown(table).split("\n\n") if block.startswith("| Method"))
    rows = {line.split("|")[1].strip(): line.rstrip(" |") for line in grid.splitlines()}
    assert rows["KPO-clipped"].endswith(MARK)
    assert not rows["KPO-unclipped"].endswith(MARK)
