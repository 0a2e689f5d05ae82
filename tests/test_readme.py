"""The README keeps its word: its example works, its table is the reference, its paths exist."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.evals.figures.collapse import misjudged, read_arms
from kpo.kalman import kalman_gains
from kpo.objective import TokenBatch
from tests.configs import CONFIGS

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text()


def rows_of(path: str) -> list[dict[str, str]]:
    """The rows of a table of the reference results."""
    with (REPO / "results/reference" / path).open() as file:
        return [*csv.DictReader(file)]


def test_the_example_baseline_works_as_written() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    lines = [line.removeprefix("   ") for line in code[1].splitlines()]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile("\n".join(lines), "README.md", "exec", dont_inherit=True), names)
    logprobs = torch.tensor([[-1.0, -2.0, -0.5]], requires_grad=True)
    batch = TokenBatch(logprobs, logprobs.detach(), torch.tensor([2.0]), torch.ones(1, 3))
    output = names["HalfSequence"]()(batch)
    output.loss.backward()
    assert logprobs.grad is not None
    torch.testing.assert_close(logprobs.grad, torch.full((1, 3), -2 / 3))


def test_the_table_is_that_of_the_reference_run() -> None:
    reference = (REPO / "results/reference/tiny/table1.md").read_text()
    table = [line for line in reference.split("\n## ")[0].splitlines() if line.startswith("|")]
    assert len(table) == 11  # header, rule, base and eight methods
    assert "\n".join(table) in README
    differences = reference.split("## Differences")[1].split("\n## ")[0].splitlines()
    grid = [line for line in differences if line.startswith("|")]
    assert len(grid) == 6  # header, rule and KPO's four rows
    assert "\n".join(grid) in README


TRIPLE = re.compile(r"([+-]?\d+\.\d) \(([+-]?\d+\.\d) to ([+-]?\d+\.\d)\)")
FINDINGS = README.split("## What we found")[1].split("\n## ")[0].replace("\n  ", " ").split("\n- ")


@pytest.mark.parametrize("finding", [text for text in FINDINGS if TRIPLE.search(text)])
def test_what_was_found_stands_in_the_file_that_is_named(finding: str) -> None:
    """A difference and its limits, in points; either of the two rows may be named first."""
    files = re.findall(r"`results/reference/([\w./-]+/differences\.csv)`", finding)
    rows = [row for path in files for row in rows_of(path)]
    known = set()
    for row in rows:
        if row["benchmark"] == "overall" and row["metric"].startswith("avg"):
            numbers = (float(row[name]) for name in ("difference", "low", "high"))
            known.add(frozenset(f"{abs(number):.1f}" for number in numbers))
    for found in TRIPLE.findall(finding):
        assert frozenset(number.lstrip("+-") for number in found) in known, found


def test_collapse_is_parted_as_it_says() -> None:
    (grids,) = re.findall(r"evals\.figure collapse --grid\s+([^`]+?)\s+--out", README)
    arms = [arm for path in grids.split() for arm in read_arms(REPO / path)]
    width, (exception,) = misjudged(arms)
    assert exception.width > width
    lost = round(5 * exception.collapsed / 100)
    said = f"Of the {len(arms)} arms of four grids most runs collapse where the clip that a drift"
    said += (
        f" meets is wider than {width:.2f}, but for one arm at {exception.width:.2f} ({lost} of 5)"
    )
    assert f"{said}, and in no other." in " ".join(README.split())


def test_memory_over_length_is_as_it_says() -> None:
    (finding,) = (" ".join(text.split()) for text in FINDINGS if "ratio of memory" in text)
    for name in ("memory", "memory-long"):
        folder = REPO / "results/reference" / name
        arms = {arm.name: arm for arm in read_arms(folder / "grid.csv")}
        four, sixteen = (arms[f"known-{ratio}"].width for ratio in (4, 16))
        assert f"to {four:.2f} and {sixteen:.2f}, with 47 tokens and with 130;" in finding
        diffuse = [
            row
            for row in rows_of(f"{name}/differences.csv")
            if row["reference"] == "gspo" and row["name"].startswith("diffuse")
        ]
        assert len(diffuse) == 5 * 4 * 2  # ratios; tiers and overall; avg and pass
        assert all(float(row["p_holm"]) > 0.05 for row in diffuse)
    assert "From a diffuse start no ratio parts from GSPO beyond the noise." in finding


def test_collapse_by_age_is_as_it_says() -> None:
    (finding,) = (" ".join(text.split()) for text in FINDINGS if "Older rollouts" in text)
    rows = rows_of("staleness/grid.csv")
    runs, lost = Counter[bool](), Counter[bool]()
    for row in rows:
        if row["family"]:
            of_known = row["family"] == "known"
            runs[of_known] += int(row["seeds"])
            lost[of_known] += round(int(row["seeds"]) * float(row["collapsed_%"]) / 100)
    assert f"{lost[True]} of {runs[True]} runs of KPO with the paper's start collapse" in finding
    assert lost[False] == 0
    assert f"none of {runs[False]} of GRPO" in finding
    pairs = rows_of("staleness/differences.csv")
    against = [r for r in pairs if r["name"].startswith("diffuse") and "gspo" in r["reference"]]
    assert len(against) == 4 * 3 * 4 * 2  # ages, updates; tiers and overall; avg and pass
    assert all(float(row["p_holm"]) > 0.05 for row in against)
    assert "parts from GSPO beyond the noise nowhere" in finding


def test_what_settings_of_their_own_bring_is_as_it_says() -> None:
    (finding,) = (" ".join(text.split()) for text in FINDINGS if "settings of its own" in text)
    rows = rows_of("tuned/tuned.csv")
    own = {row["name"]: row for row in rows}
    gspo, known, diffuse = (own[name] for name in ("gspo", "kpo-known", "kpo-diffuse"))
    scores = [f"{float(row['tuned_avg@16']):.1f}" for row in (gspo, known, diffuse)]
    assert "GSPO {}, KPO {} with the paper's start,".format(*scores) in finding
    assert f"and {scores[2]} with a diffuse one" in finding
    assert max(own.values(), key=lambda row: float(row["tuned_avg@16"])) == gspo
    assert "clip 3e-6 / 4e-6" in known["tuned_settings"]  # the paper's: 3e-4 / 4e-4
    passed = float((1 - (1 - kalman_gains(47, 1e-6)).cumprod(0)).mean())
    assert f"{3e-6 / passed:.2g} / {4e-6 / passed:.1g}" in finding
    assert "clip 0.003 / 0.004" in gspo["tuned_settings"]
    collapsed = {row["name"]: row["tuned_collapsed"] for row in own.values()}
    assert collapsed.pop("cispo") == "12.50"
    assert {*collapsed.values()} == {"0.00"}


def test_longer_answers_are_as_it_says() -> None:
    (finding,) = (" ".join(text.split()) for text in FINDINGS if "With longer answers" in text)
    widths = []
    for name in ("tiny-long", "tiny"):
        arms = {arm.name: arm for arm in read_arms(REPO / f"results/reference/{name}/grid.csv")}
        passed = arms["kpo-clipped"].passed
        widths.append(f"{3e-4 / passed:.2f} / {4e-4 / passed:.2g}")
        if name == "tiny-long":
            assert f"In {arms['kpo-clipped'].tokens:.0f} tokens" in finding
            lost = {arm.name: round(4 * arm.collapsed / 100) for arm in arms.values()}
            assert f"without a clip {lost.pop('kpo-unclipped')} of 4 runs collapse" in finding
            assert {*lost.values()} == {0}
    assert "widens the clip to {} and not to {}".format(*widths) in finding


def test_structure_is_as_it_says() -> None:
    rows = {name: rows_of(f"{name}/structure.csv") for name in ("structure", "structure-real")}
    assert all(path in README for path in (f"`results/reference/{n}/structure.csv`" for n in rows))
    tiny = [row for row in rows["structure"] if row["what"] == "measured"]
    gain = max(float(row["gain"]) for row in tiny)
    (finding,) = (" ".join(text.split()) for text in FINDINGS if "next to nothing" in text)
    assert f"by {gain:.1f} nats in all {len(tiny)} places" in finding
    real = [row for row in rows["structure-real"] if row["what"] == "measured"]
    assert f"at most {max(float(row['gain']) for row in real):.1f} nats" in finding
    for what in ("measured", "shuffled"):
        later = [r for r in rows["structure-real"] if (r["use"], r["what"]) == ("later", what)]
        for column, digits in (("switch", 2), ("switch_filtered", 3), ("mean_spread", 1)):
            values = [float(row[column]) for row in later]
            assert f"{min(values):.{digits}f} to {max(values):.{digits}f}" in finding


def test_estimators_are_as_it_says() -> None:
    rows = rows_of("shootout/shootout.csv")
    fresh = [row for row in rows if (row["seed"], row["rollouts"]) == ("all", "fresh")]
    (finding,) = (" ".join(text.split()) for text in FINDINGS if "As an estimator" in text)
    for method in ("kpo-clipped", "reinforce", "kpo-clipped-diffuse", "gspo"):
        own = [row for row in fresh if row["method"] == method and row["age"] != "0"]
        *first, last = (f"{float(row['cosine_batch']):.2f}".replace("-0.00", "0.00") for row in own)
        assert [row["age"] for row in own] == ["1", "4", "16", "64"]
        assert f" {', '.join(first)} and {last}" in finding, method
        assert {f"{float(row['cosine_batch_se']):.2f}" for row in own} == {"0.02"}


@pytest.mark.parametrize("command", re.findall(r"`python -m evals\.figure ([^`]+)`", README))
def test_its_pictures_are_what_its_commands_draw(command: str, tmp_path: Path) -> None:
    *words, kept = command.split()
    assert f"]({kept})" in README
    done = subprocess.run(
        [sys.executable, "-m", "evals.figure", *words, str(tmp_path / "drawn.png")],
        cwd=REPO,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn.png").read_bytes() == (REPO / kept).read_bytes()


def test_every_config_that_is_described_exists() -> None:
    assert "tiny.yaml" in [path.name for path in CONFIGS]
    assert all(path.is_file() for path in CONFIGS)


@pytest.mark.parametrize("command", ["make table1", "make test", "make bench", "make report"])
def test_make_targets_exist(command: str) -> None:
    assert command in README
    target = command.split()[1]
    assert re.search(rf"^{target}:", (REPO / "Makefile").read_text(), re.MULTILINE)


PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md"] + [
    page
    for room in ("kpo", "baselines", "evals", "workflow")
    for page in (REPO / room).rglob("*.md")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_named_paths_exist(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"`((?:kpo|baselines|evals|workflow|tests)/[\w./-]+)`", text):
        assert (REPO / path).exists(), path
    for module in re.findall(r"python -m ([\w.]+\w)", text):
        if module.partition(".")[0] in ("kpo", "evals", "tests"):
            source = REPO / module.replace(".", "/")
            assert source.with_suffix(".py").is_file() or source.is_dir(), module
