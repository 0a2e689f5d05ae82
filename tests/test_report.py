"""`make report`: one file in which all tables, figures and responses show; it needs no other."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpo.evals.table import SHEETS
from tests.chromium import MISSING, PROGRAM, Page, chromium
from tests.workspace import REPO, Workspace

pytestmark = pytest.mark.slow
KEPT = ("table1.md", "grid.csv", "manifests.json")
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small experiment, and of one that is kept."""
    folder = tmp_path_factory.mktemp("report")
    workspace = Workspace(folder)
    for file in KEPT:
        (folder / "results/reference/clip").mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / "results/reference/clip" / file, folder / "results/reference/clip")
    lines = (REPO / "Makefile").read_text().splitlines()
    (recipe,) = (line for line in lines if "--report " in line)
    words = shlex.split(recipe.replace("$(SNAKEMAKE)", "").replace("$(OF)", ""))
    words[words.index("--report-stylesheet") + 1] = str(REPO / "workflow/report.css")
    for call in (words[:1], words):
        run = workspace.snakemake(*call)
        assert run.returncode == 0, run.stdout
    return folder / "results/report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if PROGRAM is None:
        pytest.skip(MISSING)
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def show(page: Page, path: str) -> None:
    """Press the button of a result."""
    button = f"new ButtonViewManager(app).handleSelectedResult({json.dumps(path)})"
    page.evaluate(f"{button}.props.onClick()")


def test_it_is_one_file_of_a_size_to_be_sent(report: Path) -> None:
    assert report.stat().st_size < 20 * MEGABYTE


def test_all_is_there_by_category_with_its_caption(page: Page, report: Path) -> None:
    page.open(report, width=1400)
    found = page.wait("typeof app === 'object' && categories")
    own, kept = found.pop("test (this run)"), found.pop("clip (kept)")
    assert found == {"all experiments": {"Figures": ["results/kept/figures/collapse.png"]}}
    own_pages = {file.partition(".")[0] for file in (*SHEETS, "manifests.json")}
    own_pages -= {"scores", "curves"}
    own_figures = ("learning", "grid", "pass-share", "forest")
    assert set(own["Tables"]) == {f"results/test/pages/{name}.html" for name in own_pages}
    assert set(own["Figures"]) == {f"results/test/figures/{name}.png" for name in own_figures}
    assert own["Responses"] == ["results/test/pages/responses.html"]
    pages = {f"results/kept/clip/pages/{name}.html" for name in ("table1", "grid", "manifests")}
    assert set(kept["Tables"]) == pages
    assert set(kept["Figures"]) == {
        *("results/kept/clip/figures/grid.png", "results/kept/clip/figures/pass-share.png"),
    }
    captions = page.evaluate("Object.values(results).map((result) => result.caption.trim())")
    assert all(len(caption) > 150 for caption in captions)
    assert "system-message" not in "".join(captions)  # of docutils
    rules = page.evaluate("runtimes_spec.data.values.map((job) => job.rule)")
    assert {"train", "sample", "grade", "tables", "draw"} <= set(rules)


@pytest.mark.parametrize("width", [1400, 420])
def test_every_result_shows_and_nothing_is_asked_for(page: Page, report: Path, width: int) -> None:
    page.open(report, width=width)
    paths = page.wait("typeof app === 'object' && Object.keys(results)")
    for path in paths:
        show(page, path)
        if path.endswith(".png"):
            source = f"results[{json.dumps(path)}].data_uri"
            image = "document.querySelector('#app > div > div:last-child img')"
            page.wait(f"{image} && {image}.src === {source} && {image}.naturalWidth > 300")
            right = page.evaluate(f"{image}.getBoundingClientRect().right")
            assert right <= width, path
        else:
            category = "clip (kept)" if "kept" in path else "test (this run)"
            page.framed(
                "graded responses" if "responses" in path else f"{category}: {Path(path).stem}"
            )
    assert page.requested() == [report.resolve().as_uri()]


def test_responses_can_be_chosen(page: Page, report: Path) -> None:
    page.open(report.parent / "test/pages/responses.html", width=1400)
    shown = "document.querySelectorAll('article').length"
    every = page.evaluate(shown)
    assert every > 3
    page.evaluate(
        "at.model.value = '1'; at.model.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert 0 < page.evaluate(shown) < every
    names = "[...document.querySelectorAll('header .value')].map((one) => one.textContent)"
    assert set(page.evaluate(names)) == {"grpo-s0"}
    assert page.evaluate("document.querySelector('article pre.problem').textContent").endswith("=?")
    assert page.requested() == [(report.parent / "test/pages/responses.html").resolve().as_uri()]
