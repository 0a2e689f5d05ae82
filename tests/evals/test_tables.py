"""From grades to files: cells against counts by hand, formats, and everything that is refused."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import tables
from evals.table.data import Table
from evals.table.markdown import markdown
from evals.table.render import csv_files, escape, latex
from kpo.config.experiment import load_experiment

REPORTED = Path(__file__).parents[2] / "results" / "reported" / "table1.csv"
FILES = ["diagnostics.csv", "differences.csv", "table1.csv", "table1.md", "table1.tex"]
CONFIG = """
experiment: demo
seeds: [0, 1, 2]
prompt: boxed
policy: { kind: pretrained, model: some/model }
train: { problems: gsm8k-train, steps: 1, max_prompt_tokens: 9, max_response_tokens: 9, lr: 1e-6 }
evaluate: { benchmarks: [aime24, gsm8k], samples: 4, max_response_tokens: 9 }
methods:
  grpo: { label: GRPO, objective: grpo, clip_low: 0.2, clip_high: 0.2 }
  gspo: { label: "GS_PO & co | 100%", objective: gspo, clip_low: 3e-4, clip_high: 4e-4 }
  kpo-clipped: { label: KPO-clipped, objective: kpo, memory: 12, clip_low: 3e-4, clip_high: 4e-4 }
  kpo-unclipped: { label: KPO-unclipped, objective: kpo, q: 1e-4, clip_low: null, clip_high: null }
"""
PROBLEMS = {"aime24": 6, "gsm8k": 9}
SKILL = {"base": 0.3, "grpo": 0.5, "gspo": 0.8, "kpo-clipped": 0.5, "kpo-unclipped": 0.02}
PROTOCOL = {
    "prompt": {"name": "boxed", "template_sha256": "0123456789abcdef" * 4},
    "sampling": {"temperature": 1.0, "top_p": 1.0},
}


@pytest.fixture(autouse=True)
def _no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_run(folder: Path, skill: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for benchmark, count in PROBLEMS.items():
        for problem in range(count):
            for sample in range(4):
                correct = bool(rng.random() < skill)
                failed = not correct and sample == 3
                rows.append(
                    {
                        "benchmark": benchmark,
                        "id": f"p{problem}",
                        "sample": sample,
                        "correct": correct,
                        "status": "no_answer" if failed else "ok",
                        "extracted": None if failed else "7",
                        "tokens": 10 + sample,
                        "finish": "length" if failed else "stop",
                    }
                )
    folder.mkdir(parents=True)
    write_rows(folder / "grades.jsonl", rows)
    manifest = {"model": folder.name, "protocol": PROTOCOL}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_training(folder: Path) -> None:
    """The manifest of a run on the base that write_run calls `base`."""
    folder.mkdir(parents=True)
    versions = {"python": "3.11", "torch": "2", "transformers": "5", "math-verify": "1"}
    manifest = {
        "packages": {**versions, "snakemake": "9"},
        "base": "base",
        "data": "problems",
        "weights": folder.name,
        "settings": {"train": {"lr": 1e-6}},
        "code": "0123456789abcdef",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("experiment")
    (root / "demo.yaml").write_text(CONFIG)
    (root / "results" / "reported").mkdir(parents=True)
    shutil.copy(REPORTED, root / "results" / "reported")
    write_run(root / "results/demo/evals/base", SKILL["base"], 0)
    for place, method in enumerate(list(SKILL)[1:]):
        for seed in range(3):
            write_run(
                root / f"results/demo/evals/{method}-s{seed}", SKILL[method], 10 * place + seed
            )
            write_training(root / f"results/demo/runs/{method}-s{seed}")
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """An experiment of its own that a test may spoil."""
    shutil.copytree(template, tmp_path / "root")
    return tmp_path / "root"


def make(root: Path, out: str = "out") -> int:
    arguments = ["--config", str(root / "demo.yaml"), "--results", str(root / "results")]
    return tables.main([*arguments, "--out-dir", str(root / out)])


def records(path: Path) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in csv.DictReader(path.read_text().splitlines())}


def table_of(root: Path) -> Table:
    return tables.build_table(load_experiment(root / "demo.yaml"), root / "results")


def change(root: Path, old: str, new: str) -> None:
    text = (root / "demo.yaml").read_text()
    assert old in text
    (root / "demo.yaml").write_text(text.replace(old, new))


def test_cells_are_the_counts_of_the_grades(root: Path) -> None:
    assert make(root) == 0
    found = records(root / "out" / "table1.csv")
    for name in SKILL:
        runs = ["base"] if name == "base" else [f"{name}-s{seed}" for seed in range(3)]
        graded = [read_rows(root / f"results/demo/evals/{run}/grades.jsonl") for run in runs]
        means: dict[str, list[float]] = {"avg": [], "pass": []}
        for benchmark, count in PROBLEMS.items():
            mine = [[row for row in rows if row["benchmark"] == benchmark] for rows in graded]
            right = sum(row["correct"] for rows in mine for row in rows)
            solved = sum(len({row["id"] for row in rows if row["correct"]}) for rows in mine)
            means["avg"].append(100 * right / (4 * count * len(runs)))
            means["pass"].append(100 * solved / (count * len(runs)))
            for metric, values in means.items():
                assert found[name][f"{benchmark}_{metric}@4"] == f"{values[-1]:.2f}"
        for metric, values in means.items():
            assert found[name][f"overall_{metric}@4"] == f"{sum(values) / 2:.2f}"


def test_rows_and_columns_of_the_table(root: Path) -> None:
    make(root)
    text = (root / "out" / "table1.csv").read_text()
    header = text.splitlines()[0].split(",")
    cells = [f"{b}_{m}@4" for b in ("aime24", "gsm8k", "overall") for m in ("avg", "pass")]
    settings = ["q", "memory", "clip_low", "clip_high", "seeds"]
    expected = ["method", "name", "objective", *settings]
    assert header == [*expected, *(f"{c}{end}" for c in cells for end in ("", "_low", "_high"))]
    found = records(root / "out" / "table1.csv")
    assert list(found) == list(SKILL)
    assert found["base"]["method"] == "Base model"
    stated = {name: [row[key] for key in settings] for name, row in found.items()}
    assert stated["base"] == [""] * 5
    assert stated["grpo"] == ["", "", "0.2", "0.2", "0 1 2"]
    assert stated["kpo-clipped"] == ["0.00757576", "12", "0.0003", "0.0004", "0 1 2"]
    assert stated["kpo-unclipped"] == ["0.0001", "100.501", "", "", "0 1 2"]
    for row in found.values():
        for cell in cells:
            assert float(row[f"{cell}_low"]) <= float(row[cell]) <= float(row[f"{cell}_high"])


def test_rows_with_runs_that_learnt_nothing_are_marked(root: Path) -> None:
    make(root, "before")
    for seed, learning in (
        (1, {"steps": 20, "still_steps": 20, "moved_weights": 0.0}),
        (2, {"steps": 20, "still_steps": 3, "moved_weights": 0.5}),
    ):
        path = root / f"results/demo/runs/gspo-s{seed}/manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "learning": learning}))
    make(root, "after")
    before, after = ((root / name / "table1.md").read_text() for name in ("before", "after"))
    assert "‡" not in before
    marked = [line for line in after.splitlines() if "‡" in line]
    assert [line.count("‡") for line in marked] == [3, 1]  # each cell of one row, and the note
    assert marked[0].startswith("| GS_PO ")
    assert marked[1] == (
        "- ‡: the row has runs that learnt nothing, and are the base model again: gspo-s1, none of"
        " its 20 steps had a gradient."
    )
    assert records(root / "after/table1.csv")["gspo"]["seeds"] == "0 1‡ 2"
    tex = (root / "after/table1.tex").read_text()
    assert tex.count(r"$^{\ddagger}$") == 3
    assert r"\ddag{}: the row has runs" in tex


def test_the_same_grades_give_the_same_bytes_in_any_order(root: Path) -> None:
    make(root, "first")
    for path in root.glob("results/demo/evals/gspo-*/grades.jsonl"):
        rows = read_rows(path)
        write_rows(path, rows[::-1])
    make(root, "second")
    assert sorted(path.name for path in (root / "first").iterdir()) == FILES
    for name in FILES:
        assert (root / "first" / name).read_bytes() == (root / "second" / name).read_bytes()


def test_diagnostics_count_every_response(root: Path) -> None:
    make(root)
    with (root / "out" / "diagnostics.csv").open() as file:
        found = {(row["name"], row["benchmark"]): row for row in csv.DictReader(file)}
    assert len(found) == len(SKILL) * len(PROBLEMS)
    graded = [read_rows(root / f"results/demo/evals/gspo-s{s}/grades.jsonl") for s in range(3)]
    mine = [row for rows in graded for row in rows if row["benchmark"] == "gsm8k"]
    failed = 100 * sum(row["status"] == "no_answer" for row in mine) / len(mine)
    row = found["gspo", "gsm8k"]
    assert row["responses"] == str(9 * 4 * 3)
    assert row["mean_tokens"] == "11.50"
    assert row["truncated_%"] == row["no_answer_%"] == f"{failed:.2f}"
    assert row["timeout_%"] == row["error_%"] == "0.00"


def test_what_rounding_does_to_ratios_stands_beside_the_table(root: Path) -> None:
    for seed in range(3):
        path = root / f"results/demo/runs/gspo-s{seed}/manifest.json"
        noise = {"noise_rms": 0.002, "noise_max": 0.01 * (1 + seed), "noise_clip_fraction": 0.02}
        path.write_text(json.dumps({**json.loads(path.read_text()), "noise": noise}))
    make(root)
    with (root / "out" / "diagnostics.csv").open() as file:
        found = {row["name"]: row for row in csv.DictReader(file)}
    told = [found["gspo"][name] for name in ("noise_rms", "noise_max", "noise_clip_%")]
    assert told == ["0.002", "0.03", "2.00"]
    assert found["base"]["noise_rms"] == found["base"]["noise_clip_%"] == ""
    text = (root / "out" / "table1.md").read_text()
    (note,) = (line for line in text.splitlines() if "Rounding alone, where no weight" in line)
    assert "beyond the clip: 2 % (gspo)" in note


def test_differences_are_against_grpo_and_the_best_baseline(root: Path) -> None:
    make(root)
    with (root / "out" / "differences.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {(row["reference"], row["against"]) for row in found} == {
        ("grpo", "grpo"),
        ("gspo", "best baseline"),
    }
    assert len(found) == 2 * 4 * 3 * 2  # references, other rows, columns, metrics
    table = records(root / "out" / "table1.csv")
    for row in found:
        column = f"{row['benchmark']}_{row['metric']}"
        difference = float(table[row["name"]][column]) - float(table[row["reference"]][column])
        assert float(row["difference"]) == pytest.approx(difference, abs=0.011)
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
        assert float(row["p_holm"]) >= float(row["p"])
        different = "higher" if difference > 0 else "lower"
        verdict = different if float(row["p_holm"]) <= 0.05 else "inside the noise"
        assert row["verdict"] == verdict
    verdicts = {
        (row["name"], row["against"]): row["verdict"]
        for row in found
        if (row["benchmark"], row["metric"]) == ("overall", "avg@4")
    }
    assert verdicts["kpo-unclipped", "best baseline"] == "lower"
    assert verdicts["gspo", "grpo"] == "higher"
    assert verdicts["kpo-clipped", "grpo"] == "inside the noise"


def test_markdown_lines_up_marks_noise_and_says_how_it_was_made(root: Path) -> None:
    text = markdown(table_of(root))
    grids = [block.splitlines() for block in text.split("\n\n") if block.startswith("| Method")]
    assert [len(grid) for grid in grids] == [2 + 5, 2 + 5]
    for grid in grids:
        assert len({len(line) for line in grid}) == 1
    rows = {line.split("|")[1].strip(): line for line in grids[0]}
    assert rows["KPO-clipped"].rstrip(" |").endswith("≈")
    assert not rows["KPO-unclipped"].rstrip(" |").endswith("≈")
    assert "q 0.00758 (memory 12 tokens), clip 0.0003 / 0.0004" in rows["KPO-clipped"]
    assert "q 0.0001 (memory 101 tokens), no clip" in rows["KPO-unclipped"]
    assert "Training seeds: 0, 1, 2. Problems: aime24 6, gsm8k 9; 4 answers each." in text
    assert "Minimum detectable difference to GRPO in avg@4" in text
    assert "the best baseline overall" in text
    assert "prompt.template_sha256 = 0123456789ab," in text
    assert "sampling.temperature = 1.0" in text


def test_the_papers_figures_stand_beside_ours_where_benchmarks_match(root: Path) -> None:
    text = markdown(table_of(root))
    section = text[text.index("## The figures reported") :]
    assert "aime24, paper" in section
    assert "aime24, ours" in section
    assert "gsm8k" not in section
    assert "math500" not in section
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in section.splitlines()[4:]}
    assert rows["GRPO"][0].strip() == "27.29 / 53.33"
    assert "±" in rows["GRPO"][1]
    assert rows["GMPO"][1].strip() == "—"  # not run here
    assert rows["KPO-unclipped"][0].strip() == "— / —"  # not known


def test_without_a_common_benchmark_the_papers_figures_stand_alone(root: Path) -> None:
    change(root, "[aime24, gsm8k]", "[gsm8k]")
    for path in root.glob("results/demo/evals/*/grades.jsonl"):
        write_rows(path, [row for row in read_rows(path) if row["benchmark"] == "gsm8k"])
    text = markdown(table_of(root))
    assert "None of its benchmarks was run here" in text
    assert "85.66 / 92.80" in text
    assert "ours" not in text[text.index("## The figures reported") :]


def test_one_seed_gives_a_table_without_tests(root: Path) -> None:
    change(root, "[0, 1, 2]", "[0]")
    table = table_of(root)
    assert {c.verdict for c in table.comparisons} == {"not tested"}
    assert "One training seed" in markdown(table)
    assert "≈" not in markdown(table)
    rows = list(csv.reader(csv_files(table)["table1.csv"].splitlines()))
    assert all(cell for row in rows[1:] for cell in row[8:])
    assert "nan" not in "".join([*csv_files(table).values(), markdown(table), latex(table)])


def test_rows_without_a_baseline_are_not_compared(root: Path) -> None:
    text = (root / "demo.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("  grpo", "  gspo"))]
    (root / "demo.yaml").write_text("\n".join(lines))
    assert make(root) == 0
    assert len((root / "out" / "differences.csv").read_text().splitlines()) == 1


def test_latex_is_escaped_and_balanced(root: Path) -> None:
    text = latex(table_of(root))
    assert r"GS\_PO \& co | 100\%" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {4}
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    assert r"$^{\dagger}$" in next(line for line in rows if line.startswith("KPO-clipped"))
    assert text.isascii()
    assert escape("a\\b{c}~^#$") == (
        r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\#\$"
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

    def spoil(run: Path) -> None:
        path = run.parents[1] / "runs" / run.name / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def copy_responses(run: Path) -> None:
    """The manifests of this run and of its neighbour name the same responses."""
    for folder in (run, run.with_name("gspo-s0")):
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
        "gspo-s1/grades.jsonl is missing",
    ),
    "grades empty": (lambda run: write_rows(run / "grades.jsonl", []), "grades.jsonl is empty"),
    "row missing": (
        edit(lambda rows: rows.pop(7)),
        "gspo-s1/grades.jsonl: sample 3 of aime24 p1 is in run base but not in run gspo-s1",
    ),
    "row too many": (
        edit(lambda rows: rows.append({**rows[0], "id": "p99"})),
        "gspo-s1/grades.jsonl: sample 0 of aime24 p99 is in run gspo-s1 but not in run base",
    ),
    "problem renamed": (
        edit(lambda rows: [row.update(id="new") for row in rows[:4]]),
        "sample 0 of aime24 new, and 3 more, is in run gspo-s1 but not in run base",
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


def test_other_trainer_code_is_said_under_the_table(root: Path) -> None:
    assert "trainer's code" not in markdown(table_of(root)) + latex(table_of(root))
    trained(code="fedcba9876543210")(root / "results/demo/evals/gspo-s1")
    for text in (markdown(table_of(root)), latex(table_of(root))):
        assert "trainer's code is not the same" in text
        assert "fedcba987654 in gspo-s1" in text


def test_other_versions_of_what_computes_nothing_are_no_matter(root: Path) -> None:
    versions = {"python": "3.11", "torch": "2", "transformers": "5", "math-verify": "1"}
    trained(packages={**versions, "snakemake": "10"})(root / "results/demo/evals/gspo-s1")
    assert make(root) == 0


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
    assert "problem p0 of aime24 has 4 samples" in capsys.readouterr().err


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


def test_a_refusal_leaves_earlier_tables_alone(root: Path) -> None:
    make(root)
    before = {name: (root / "out" / name).read_bytes() for name in FILES}
    (root / "results/demo/evals/base/grades.jsonl").unlink()
    with pytest.raises(SystemExit):
        make(root)
    assert {path.name: path.read_bytes() for path in (root / "out").iterdir()} == before


def test_a_wrong_config_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(root, "samples: 4", "sampels: 4")
    with pytest.raises(SystemExit) as stop:
        make(root)
    assert stop.value.code == 2
    assert "sampels" in capsys.readouterr().err


def test_help_says_what_is_read_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tables.main(["--help"])
    text = capsys.readouterr().out
    for name in ("grades.jsonl", "manifest.json", "reported/table1.csv", *FILES):
        assert name in text


def test_the_committed_figures_are_those_of_the_paper() -> None:
    rows = {row["method"]: row for row in tables.read_reported(REPORTED)}
    assert list(rows) == ["GRPO", "GMPO", "GSPO", "KPO-clipped", "KPO-unclipped"]
    known = {name: sum(map(bool, row.values())) - 1 for name, row in rows.items()}
    assert known == {"GRPO": 7, "GMPO": 3, "GSPO": 6, "KPO-clipped": 7, "KPO-unclipped": 1}
    assert rows["KPO-clipped"]["aime24_avg@16"] == "37.91"
    assert rows["GSPO"]["math500_pass@16"] == "94.00"
    assert rows["KPO-unclipped"]["minerva_avg@16"] == "39.15"
