"""The figure of collapse: widths of arms from a grid.csv, the parting width, the drawing."""

import math
from pathlib import Path

import pytest

from kpo.evals import figure
from kpo.evals.figures.collapse import Arm, misjudged, read_arms
from kpo.kalman import kalman_gains

HEAD = "method,name,clip_high,q,start,response_tokens,reward_last5_%,reward_last5_%_low"
HEAD += ",reward_last5_%_high,collapsed_%\n"
ROWS = """Base,base,,,,,,,,
GSPO,gspo,4e-4,,,47.2,60,55,65,0
"GSPO, wide",wide,1.0,,,47.2,5,2,8,100
Known,known,4e-4,1e-6,known,47.2,10,,,80
Diffuse,diffuse,4e-4,1e-6,diffuse,47.2,61,50,70,20
Open,open,,,,47.2,4,2,6,100
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "arms/grid.csv"
    path.parent.mkdir()
    path.write_text(HEAD + ROWS)
    return path


def arm(name: str, width: float, collapsed: float) -> Arm:
    return Arm("x", name, "", 47, 1.0, width, 50.0, 40.0, 60.0, collapsed)


def test_a_clip_is_as_wide_as_what_passes_makes_it(grid: Path) -> None:
    arms = {one.name: one for one in read_arms(grid)}
    assert list(arms) == ["gspo", "wide", "known", "diffuse", "open"]
    assert (arms["gspo"].width, arms["wide"].width, arms["open"].width) == (4e-4, 1.0, math.inf)
    passed = 1 - (1 - kalman_gains(47, 1e-6)).cumprod(0)
    assert arms["known"].width == pytest.approx(4e-4 / float(passed.mean()))
    assert arms["diffuse"].width == 4e-4
    assert (arms["known"].start, arms["gspo"].start) == ("known", "")
    assert arms["known"].experiment == "arms"
    assert math.isnan(arms["known"].low)


def test_the_parting_width_has_the_fewest_exceptions(grid: Path) -> None:
    width, wrong = misjudged(read_arms(grid))
    assert width == pytest.approx(math.sqrt(4e-4 * 1.0))
    assert not wrong
    odd = arm("odd", 2.0, 0)
    arms = [arm("a", 0.1, 0), arm("b", 0.5, 0), arm("c", 1.0, 100), odd, arm("d", 3.0, 100)]
    width, wrong = misjudged(arms)
    assert width == pytest.approx(math.sqrt(0.5 * 1.0))
    assert wrong == [odd]
    assert misjudged([arm("a", 0.5, 0), arm("none", math.inf, 100)]) == (0.5, [])
    assert misjudged([arm("all", 1.0, 100)]) == (0.0, [])


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_the_figure_and_its_numbers_are_the_same_each_time(
    grid: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for folder in ("one", "two"):
        out = grid.parent / folder / name
        monkeypatch.setattr("sys.argv", ["x", "collapse", "--grid", str(grid), "--out", str(out)])
        figure.main()
        files.append((out.read_bytes(), out.with_suffix(".csv").read_text()))
    assert files[0] == files[1]
    head, first, *_ = files[0][1].splitlines()
    assert head == "experiment,name,start,tokens,passed,width,reward,low,high,collapsed"
    assert first == "arms,gspo,,47.2,1,0.0004,60,55,65,0"
    assert "5 arms: where the clip that a drift meets is wider than 0.02" in capsys.readouterr().out


def test_a_grid_is_drawn_row_by_row(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = grid.parent / "grid.svg"
    monkeypatch.setattr("sys.argv", ["x", "grid", "--grid", str(grid), "--out", str(out)])
    figure.main()
    assert out.read_text().count("<!-- Known -->") == 1
    assert "<!-- Base -->" not in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["collapse", "--grid", "none.csv", "--out", "a.png"], "none.csv: no such file"),
        (["grid", "--grid", "GRID", "--out", "a.pdf"], "--out is a.pdf, but must end in .png"),
        (
            ["grid", "--grid", "GRID", "--out", "a.png", "--column", "x"],
            "has no column x; it has method,",
        ),
        (["grid", "--grid", "none.csv", "--out", "a.png"], "none.csv: no such file"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(
    grid: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(grid) if word == "GRID" else word for word in arguments]
    monkeypatch.setattr("sys.argv", ["x", *given])
    with pytest.raises(SystemExit, match="2"):
        figure.main()
    assert message in capsys.readouterr().err
