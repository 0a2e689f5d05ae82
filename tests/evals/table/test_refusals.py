"""What cannot stand in one table is refused, in a sentence that names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kpo.evals.table.manifests import read_reported
from tests.evals.demo import (
    PROTOCOL,
    REPORTED,
    change,
    make,
    note_training,
    read_rows,
    records,
    write_rows,
)

Spoil = Callable[[Path], object]


def edit(change: Callable[[list[dict[str, Any]]], object]) -> Spoil:
    def spoil(run: Path) -> None:
        rows = read_rows(run / "grades.jsonl")
        change(rows)
        write_rows(run / "grades.jsonl", rows)

    return spoil


def set_protocol(value: object) -> Spoil:
    return lambda run: (run / "manifest.json").write_text(json.dumps({"protocol": value}))


def trained(**changes: Any) -> Spoil:
    """Other entries in the training manifest."""
    return lambda run: note_training(run.parents[3], run.name, **changes)


def copy_responses(run: Path, other: str = "gspo-s0") -> None:
    """The manifests of this run and of another name the same responses."""
    for folder in (run, run.with_name(other)):
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["responses_sha256"] = "abc"
        (folder / "manifest.json").write_text(json.dumps(manifest))


def cut(run: Path) -> None:
    text = (run / "grades.jsonl").read_text()
    (run / "grades.jsonl").write_text(text[:-20])


COLDER = {"prompt": PROTOCOL["prompt"], "sampling": {"temperature": 0.7, "top_p": 1.0}}
SPOILED: dict[str, tuple[Spoil, str]] = {
    "grades missing": (
        lambda run: (run / "grades.jsonl").unlink(),
        "gspo-s1/grades.jsonl cannot be read: No such file",
    ),
    "grades empty": (lambda run: write_rows(run / "grades.jsonl", []), "grades.jsonl is empty"),
    "row missing": (
        edit(lambda rows: rows.pop(7)),
        "gspo-s1/grades.jsonl lacks sample 3 of aime24 p1; a run holds samples 0 to 3",
    ),
    "row too many": (
        edit(lambda rows: rows.append({**rows[0], "id": "p99"})),
        "gspo-s1/grades.jsonl has sample 0 of aime24 p99; a run holds",
    ),
    "problem renamed": (
        edit(lambda rows: [row.update(id="new") for row in rows[:4]]),
        "has sample 0 of aime24 new and 3 more; a run holds samples 0 to 3 (evaluate.samples)"
        " of each problem of run base",
    ),
    "row twice": (
        edit(lambda rows: rows.append(rows[0])),
        "line 61: sample 0 of aime24 p0 is already",
    ),
    "line cut in half": (cut, "gspo-s1/grades.jsonl, line 60 is not a whole JSON object"),
    "unknown benchmark": (
        edit(lambda rows: rows[5].update(benchmark="aime")),
        "sample 1 of problem p1 is of benchmark 'aime', which is not among evaluate.benchmarks",
    ),
    "responses copied": (copy_responses, "runs gspo-s0 and gspo-s1 hold the same responses"),
    "manifest missing": (lambda run: (run / "manifest.json").unlink(), "manifest.json is missing"),
    "manifest cut": (lambda run: (run / "manifest.json").write_text("{"), "not readable"),
    "no protocol": (set_protocol({}), "gspo-s1/manifest.json has no protocol"),
    "other protocol": (
        set_protocol(COLDER),
        "sampling.temperature is 1.0 in base, grpo-s0, grpo-s1 and 9 more runs and 0.7 in gspo-s1",
    ),
    "part of the protocol": (
        set_protocol({"prompt": PROTOCOL["prompt"]}),
        "sampling.top_p is 1.0 in base, grpo-s0, grpo-s1 and 9 more runs and absent in gspo-s1",
    ),
    "no training manifest": (
        lambda run: (run.parents[1] / "runs/gspo-s1/manifest.json").unlink(),
        "runs/gspo-s1/manifest.json is missing",
    ),
    "no metrics": (
        lambda run: (run.parents[1] / "runs/gspo-s1/metrics.jsonl").unlink(),
        "runs/gspo-s1/metrics.jsonl is missing",
    ),
    "metrics cut": (
        lambda run: (run.parents[1] / "runs/gspo-s1/metrics.jsonl").write_text('{"step": 0'),
        "runs/gspo-s1/metrics.jsonl is not readable as JSON",
    ),
    "metrics of another training": (
        trained(learning={"steps": 3, "still_steps": 0, "moved_weights": 1.0}),
        "metrics.jsonl has 2 steps, but manifest.json beside it is of 3; train it again",
    ),
    "no training settings": (trained(settings=None), "gspo-s1/manifest.json has no settings"),
    "trained with other settings": (
        trained(settings={"train": {"lr": 1e-4}}),
        "settings.train.lr is 1e-06 in grpo-s0, grpo-s1, grpo-s2 and 8 more runs and 0.0001 in"
        " gspo-s1",
    ),
    "trained from another base": (trained(base="other"), 'and "other" in gspo-s1'),
    "trained on other problems": (trained(data="other"), 'and "other" in gspo-s1'),
    "trained by other versions": (
        trained(packages={"torch": "3", "snakemake": "9"}),
        'packages.torch is "2" in grpo-s0, grpo-s1, grpo-s2 and 8 more runs and "3" in gspo-s1',
    ),
    "other weights evaluated": (
        trained(weights="newer"),
        "the evaluation of gspo-s1 is of other weights (gspo-s1) than training's (newer)",
    ),
}


def test_other_versions_of_what_computes_nothing_are_no_matter(root: Path) -> None:
    versions = {"python": "3.11", "torch": "2", "transformers": "5", "math-verify": "1"}
    trained(packages={**versions, "snakemake": "10"})(root / "results/demo/evals/gspo-s1")
    make(root)


def test_two_methods_may_answer_alike_where_they_share_a_seed(root: Path) -> None:
    copy_responses(root / "results/demo/evals/gspo-s1", "grpo-s1")
    make(root)


def test_a_row_may_be_trained_otherwise_where_it_says_so(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(root, "label: GRPO,", "label: GRPO, train: { lr: 2e-6 },")
    for seed in range(3):
        trained(settings={"train": {"lr": 2e-6}})(root / f"results/demo/evals/grpo-s{seed}")
    make(root)
    found = records(root / "out/table1.csv")
    assert {name: row["train.lr"] for name, row in found.items()} == {
        **dict.fromkeys(("gspo", "kpo-clipped", "kpo-unclipped"), "1e-6"),
        **{"base": "", "grpo": "2e-6"},
    }
    assert "clip 0.2 / 0.2, lr 2e-6" in (root / "out/table1.md").read_text()
    trained(settings={"train": {"lr": 3e-6}})(root / "results/demo/evals/grpo-s1")
    with pytest.raises(SystemExit):
        make(root)
    apart = "1e-06 in grpo-s0, grpo-s2, gspo-s0 and 8 more runs and 3e-06 in grpo-s1"
    assert apart in capsys.readouterr().err


@pytest.mark.parametrize("name", SPOILED)
def test_what_cannot_stand_in_one_table_is_refused(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = SPOILED[name]
    spoil(root / "results/demo/evals/gspo-s1")
    with pytest.raises(SystemExit) as stop:
        make(root)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (root / "out").exists()


def test_samples_that_the_config_does_not_ask_for_are_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(root, "samples: 4", "samples: 5")
    with pytest.raises(SystemExit):
        make(root)
    assert "base/grades.jsonl lacks sample 4 of aime24 p0 and 14 more" in capsys.readouterr().err


def test_a_benchmark_without_rows_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(root, "[aime24, gsm8k]", "[aime24, gsm8k, math500]")
    with pytest.raises(SystemExit):
        make(root)
    assert "base/grades.jsonl has no row of benchmark 'math500'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "reported/table1.csv is missing"),
        ("method,aime24_avg@16\nGRPO,27,1\n", "does not fit the header"),
        ("row,aime24_avg@16\nGRPO,27\n", "has no method"),
        ("method,aime24_avg@16\nGRPO,27%\n", "aime24_avg@16 of GRPO is '27%', not a number"),
    ],
)
def test_unusable_reported_figures_are_refused(
    root: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "results" / "reported" / "table1.csv"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit):
        make(root)
    assert message in capsys.readouterr().err


def test_the_committed_figures_are_those_of_the_paper() -> None:
    rows = {row["method"]: row for row in read_reported(REPORTED)}
    assert list(rows) == ["GRPO", "GMPO", "GSPO", "KPO-clipped", "KPO-unclipped"]
    known = {name: sum(map(bool, row.values())) - 1 for name, row in rows.items()}
    assert known == {"GRPO": 7, "GMPO": 3, "GSPO": 6, "KPO-clipped": 7, "KPO-unclipped": 1}
    assert rows["KPO-clipped"]["aime24_avg@16"] == "37.91"
    assert rows["GSPO"]["math500_pass@16"] == "94.00"
    assert rows["KPO-unclipped"]["minerva_avg@16"] == "39.15"
