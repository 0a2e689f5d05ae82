"""The README's table of metrics: every key that a run logs, and no other."""

from pathlib import Path

from kpo.objective_check import LOGGED, LOGGED_PREFIXES
from tests.golden.traces import TRACES, committed

README = Path(__file__).parents[3] / "kpo/trainer/README.md"
LINES = [line for line in README.read_text().splitlines() if line.startswith("| `")]
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in LINES]
KEYS = [row[0].strip("`") for row in ROWS]


def test_every_key_of_every_method_is_in_the_table_and_no_other() -> None:
    logged = {key for name in TRACES for row in committed(name) for key in row}
    assert sorted(KEYS) == sorted(logged)


def test_every_key_has_a_meaning_a_unit_and_a_healthy_range() -> None:
    for key, row in zip(KEYS, ROWS, strict=True):
        assert len(row) == 4, key
        assert all(row), key


def test_objectives_may_name_no_metric_of_the_trainers() -> None:
    own = {key for key in KEYS if not key.startswith(LOGGED_PREFIXES)}
    assert own - {"clip_fraction", "saturated"} == LOGGED
