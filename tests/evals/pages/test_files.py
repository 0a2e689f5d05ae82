"""Pages of tables, documents and manifests: what is folded, what is escaped, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kpo.common.text import csv_text
from kpo.evals import page
from kpo.evals.pages.files import Item, fold, item, numbers, of_csv, of_json, of_markdown

NASTY = "<script>alert(1)</script> & \"q\" 'a'"


def test_limits_stand_behind_what_they_limit() -> None:
    head = ["name", "x", "x_low", "x_high", "difference", "low", "high", "p"]
    assert fold(head, ["a", "3", "1", "4", "-2", "-5", "1", ".1"]) == [
        *("a", "3 (1 to 4)", "-2 (-5 to 1)", ".1"),
    ]
    assert fold(head, ["a", "3", "", "", "", "", "", ""]) == ["a", "3", "", ""]
    assert fold(["x_low", "x_high", "x"], ["1", "4", "3"]) == ["1", "4", "3"]


def test_columns_of_numbers_are_known() -> None:
    rows = [["1", "1e-6", "", "3 (1 to 4)", "a"], ["", "x", "", "-2", "1"]]
    assert numbers(rows) == {0, 3}


def test_mappings_that_are_alike_are_a_table() -> None:
    runs = {"a-s0": {"seed": 0, "git": {"dirty": False}}, "b-s0": {"seed": 0, "note": None}}
    made = item("own", runs)
    assert list(made.head) == ["", "seed", "git.dirty", "note"]
    assert made.rows == [["a-s0", "0", "false", ""], ["b-s0", "0", "", "null"]]
    apart = item("", {"base": {"a": 1}, "runs": {"b": [1, 2]}})
    assert [part.name for part in apart.parts] == ["base", "runs"]
    assert apart.parts[1].parts == (Item("b", "[1, 2]"),)


@pytest.mark.parametrize(
    "made",
    [
        of_csv(csv_text([["method", NASTY], [NASTY, "1"]]), NASTY),
        of_json(
            json.dumps({NASTY: {NASTY: NASTY}, "rows": {"a": {"b": NASTY}, "c": {"b": 1}}}), ""
        ),
        of_markdown(f"# T\n\n{NASTY}\n\n| {NASTY} |\n| --- |\n| `{NASTY}` |\n", NASTY),
    ],
)
def test_nothing_of_a_file_becomes_html(made: str) -> None:
    assert "<script" not in made
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in made
    assert "http" not in made  # nothing is loaded


def test_a_document_has_its_tables_and_one_title() -> None:
    made = of_markdown(
        "# Table 1: x\n\n| a | b |\n| :- | -: |\n| 1 | **2** |\n\n- `c`\n", "x: table1"
    )
    assert made.count("<h1>") == 1
    assert "<h1>x: table1</h1>" in made
    assert '<div class="wide"><table>' in made
    assert "<strong>2</strong>" in made
    assert "<li><code>c</code></li>" in made


def test_a_table_lasts_its_commas_quotes_and_lines() -> None:
    made = of_csv(csv_text([["method", "n"], ["GSPO, clip 0.75\nwide", "5"]]), "t")
    assert "<td>GSPO, clip 0.75\nwide</td><td" in made
    assert '<td class="number">5</td>' in made


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "none.csv: no such file; run the experiment first"),
        ("x.tex", "x.tex is no file of a kind that has a page: .csv, .md, .json"),
    ],
)
def test_what_has_no_page_is_a_sentence(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        page.main([name, "--title", "t", "--out", str(tmp_path / "x.html")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
