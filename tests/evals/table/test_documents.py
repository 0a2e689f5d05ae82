"""Tables as Markdown and LaTeX, and what they say of how their runs were trained."""

import json
import re
from pathlib import Path

from kpo.evals.table.documents import escape, latex, markdown
from tests.evals.demo import (
    change,
    make,
    note_training,
    read_rows,
    records,
    table_of,
    write_rows,
)
from tests.kpo.config.experiments import changed


def test_markdown_lines_up_marks_noise_and_says_how_it_was_made(root: Path) -> None:
    text = markdown(table_of(root))
    grids = [block.splitlines() for block in text.split("\n\n") if block.startswith("| Method")]
    assert [len(grid) for grid in grids] == [2 + 5, 2 + 2, 2 + 5]  # cells, differences, the paper's
    for grid in grids:
        assert len({len(line) for line in grid}) == 1
    rows = {line.split("|")[1].strip(): line for line in grids[0]}
    assert rows["KPO-clipped"].rstrip(" |").endswith("≈")
    assert not rows["KPO-unclipped"].rstrip(" |").endswith("≈")
    assert "q 0.00758 (memory 12 tokens), clip 0.0003 / 0.0004" in rows["KPO-clipped"]
    assert "q 0.0001 (memory 101 tokens), no clip" in rows["KPO-unclipped"]
    assert "Training seeds: 0, 1, 2. Problems: aime24 6, gsm8k 9; 4 answers each." in text
    assert "Minimum detectable difference to GRPO in avg@4" in text
    assert "prompt.template_sha256 = 0123456789ab," in text
    assert "sampling.temperature = 1.0" in text


def test_cells_print_their_limits(root: Path) -> None:
    table = table_of(root)
    for row in table.rows:
        for column in table.columns:
            avg, passed = row.cells["avg", column], row.cells["pass", column]
            limits = f"{100 * avg.low:.1f} to {100 * avg.high:.1f}"
            cell = f"{100 * avg.mean:.1f} ({limits}) / {100 * passed.mean:.1f}"
            assert cell in markdown(table)
            assert cell in latex(table)


def test_rows_with_runs_that_learnt_nothing_are_marked(root: Path) -> None:
    make(root, "before")
    for seed, learning in (
        (1, {"steps": 2, "still_steps": 2, "moved_weights": 0.0}),
        (2, {"steps": 2, "still_steps": 1, "moved_weights": 0.5}),
    ):
        note_training(root, f"gspo-s{seed}", learning=learning)
    make(root, "after")
    before, after = ((root / name / "table1.md").read_text() for name in ("before", "after"))
    assert "‡" not in before
    marked = [line for line in after.splitlines() if "‡" in line]
    assert [line.count("‡") for line in marked] == [3, 1]  # each cell of one row, and the note
    assert marked[0].startswith("| GS_PO ")
    assert marked[1] == (
        "- ‡: the row has runs that learnt nothing, and are the base model again: gspo-s1, none of"
        " its 2 steps had a gradient."
    )
    assert records(root / "after/table1.csv")["gspo"]["seeds"] == "0 1‡ 2"
    tex = (root / "after/table1.tex").read_text()
    assert tex.count(r"$^{\ddagger}$") == 3
    assert r"\ddag{}: the row has runs" in tex


def test_a_coins_rewards_are_told_of(root: Path) -> None:
    assert "coin" not in markdown(table_of(root))
    for run in (root / "results/demo/runs").iterdir():
        settings = json.loads((run / "manifest.json").read_text())["settings"]
        note_training(root, run.name, settings=changed(settings, "train/reward", "coin"))
    assert "- Training rewarded by a coin" in markdown(table_of(root))


def test_what_rounding_does_to_ratios_is_said_where_it_clips(root: Path) -> None:
    for seed in range(3):
        steps = [{"noise_clip_fraction": share} for share in (0.01, 0.03)]
        write_rows(root / f"results/demo/runs/gspo-s{seed}/metrics.jsonl", steps)
    (note,) = (line for line in markdown(table_of(root)).splitlines() if "Rounding alone" in line)
    assert "beyond the clip: 2 % (gspo); see training.csv" in note


def test_the_papers_figures_stand_beside_ours_where_benchmarks_match(root: Path) -> None:
    text = markdown(table_of(root))
    section = text[text.index("## The figures reported") :]
    assert "aime24, paper" in section
    assert "aime24, ours" in section
    assert "gsm8k" not in section
    assert "math500" not in section
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in section.splitlines()[4:]}
    assert rows["GRPO"][0].strip() == "27.29 / 53.33"
    assert re.fullmatch(r"[\d.]+ \([\d.]+ to [\d.]+\) / [\d.]+", rows["GRPO"][1].strip())
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


def test_other_trainer_code_is_said_under_the_table(root: Path) -> None:
    assert "trainer's code" not in markdown(table_of(root)) + latex(table_of(root))
    note_training(root, "gspo-s1", code="fedcba9876543210")
    for text in (markdown(table_of(root)), latex(table_of(root))):
        assert "trainer's code is not the same" in text
        assert "fedcba987654 in gspo-s1" in text
