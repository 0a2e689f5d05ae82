"""What is kept of an experiment: enough to work its table out again."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from kpo.common.files import write_json
from kpo.evals import reference
from kpo.evals.table import FILES, gathered
from tests.evals.demo import PROBLEMS, make, read_csv, records, rewarded

REFERENCES = Path(__file__).parents[3] / "results/reference"
KEPT = [*REFERENCES.glob("*/scores.csv")]


def overall(scores: list[dict[str, str]], name: str) -> tuple[float, float]:
    """avg@k and pass@k of a row in %, from right answers alone."""
    avg, solved = [], []
    for benchmark in dict.fromkeys(row["benchmark"] for row in scores):
        mine = [row for row in scores if row["benchmark"] == benchmark]
        runs = [run for run in mine[0] if run == name or run.rpartition("-s")[0] == name]
        right = [(int(row[run]), int(row["answers"])) for row in mine for run in runs]
        avg.append(fmean(count / answers for count, answers in right))
        solved.append(fmean(count > 0 for count, _ in right))
    return 100 * fmean(avg), 100 * fmean(solved)


def check_recomputed(folder: Path) -> None:
    scores, table = read_csv(folder / "scores.csv"), records(folder / "table1.csv")
    avg = f"overall_avg@{scores[0]['answers']}"
    for name, row in table.items():
        found = overall(scores, name)
        shown = float(row[avg]), float(row[avg.replace("avg", "pass")])
        assert found == pytest.approx(shown, abs=0.0051), (folder, name)


def test_the_table_can_be_worked_out_from_the_kept_scores(root: Path) -> None:
    make(root)
    check_recomputed(root / "out")
    scores = read_csv(root / "out/scores.csv")
    assert len(scores) == sum(PROBLEMS.values())
    assert [row["problem"] for row in scores[:6]] == [f"p{n}" for n in range(6)]


@pytest.mark.parametrize("folder", [path.parent for path in KEPT], ids=lambda path: path.name)
def test_the_reference_tables_follow_from_their_scores(folder: Path) -> None:
    check_recomputed(folder)


def test_curves_hold_every_step_and_what_was_logged(root: Path) -> None:
    rewarded(root, "gspo-s1", [0.25, 0.123456789, 0.5], kl_old=1e-3, switch_raw=0.4)
    make(root)
    found = read_csv(root / "out/curves.csv")
    assert len(found) == 11 * 2 + 3
    mine = [row for row in found if (row["name"], row["seed"]) == ("gspo", "1")]
    assert [row["step"] for row in mine] == ["0", "1", "2"]
    assert [row["reward"] for row in mine] == ["0.25", "0.12346", "0.5"]
    assert mine[0]["kl_old"] == "0.001"
    assert {row["switch_raw"] for row in found} == {"", "0.4"}
    assert "ess_raw" not in found[0]  # which no run logged


def test_a_reference_holds_all_files_and_manifests(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, "results/demo")
    write_json(root / "results/demo/base/manifest.json", {"weights": "1"})
    arguments = ["--experiment", str(root / "results/demo"), "--out", str(tmp_path / "kept")]
    monkeypatch.setattr("sys.argv", ["evals.reference", *arguments])
    reference.main()
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {*FILES, "manifests.json"}
    check_recomputed(tmp_path / "kept")
    kept = json.loads((tmp_path / "kept/manifests.json").read_text())
    assert kept["base"] == {"weights": "1"}
    for kind in gathered.KINDS:
        for path in (root / "results/demo" / kind).glob("*/manifest.json"):
            own = kept[kind]["own"][path.parent.name]
            assert gathered.laid_over(kept[kind]["shared"], own) == json.loads(path.read_text())


def test_a_study_is_kept_with_its_manifest_and_whatever_is_named(tmp_path: Path) -> None:
    study = tmp_path / "structure"
    study.mkdir()
    (study / "structure.csv").write_text("method\n")
    (study / "structure.manifest.json").write_text('{"code": "c"}')
    (tmp_path / "tuned.csv").write_text("x\n")
    out = tmp_path / "kept"
    reference.main(
        ["--experiment", str(study), "--also", str(tmp_path / "tuned.csv"), "--out", str(out)]
    )
    assert {p.name for p in out.iterdir()} == {"structure.csv", "tuned.csv", "manifests.json"}
    assert json.loads((out / "manifests.json").read_text()) == {"structure": {"code": "c"}}


def test_only_a_reference_is_replaced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(root, "results/demo")
    results = root / "results"
    write_json(results / "demo/base/manifest.json", {"weights": "1"})
    with pytest.raises(SystemExit):
        reference.main(["--experiment", str(results / "demo"), "--out", str(results)])
    assert "it has no manifests.json): name another folder" in capsys.readouterr().err
    assert (results / "demo/table1.csv").is_file()
    again = ["--experiment", str(results / "demo"), "--out", str(root / "kept")]
    reference.main(again)
    reference.main(again)


def test_an_experiment_that_was_not_run_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        reference.main(["--experiment", str(tmp_path), "--out", str(tmp_path / "kept")])
    assert "neither table1.csv nor a study; run the experiment first" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


def test_manifests_are_split_into_what_is_shared_and_what_is_not() -> None:
    one: dict[str, Any] = {"a": 1, "in": {"x": 1, "y": 2}, "only": None, "kind": {"z": 0}}
    two: dict[str, Any] = {"a": 1, "in": {"x": 1, "y": 3}, "kind": 5}
    shared, own = gathered.split([one, two])
    assert shared == {"a": 1, "in": {"x": 1}}
    assert own == [{"in": {"y": 2}, "only": None, "kind": {"z": 0}}, {"in": {"y": 3}, "kind": 5}]
    assert [gathered.laid_over(shared, rest) for rest in own] == [one, two]
    assert gathered.split([one]) == (one, [{}])
    assert gathered.split([]) == ({}, [])
