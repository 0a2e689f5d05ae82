"""Every figure: from real and made files, the same bytes each time, both kinds, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from kpo.evals.figure import FIGURES, main
from kpo.evals.figures.drawing import style
from tests.evals.figures import made
from tests.workspace import REPO

CLIP = REPO / "results/reference/clip"


def files_of(figure: str, folder: Path) -> list[str]:
    """The options that name what a figure is drawn from."""
    makers: dict[str, Callable[[Path], Path]] = {
        "surface": lambda path: made.surface(folder),
        "shootout": made.shootout,
        "structure": made.structure,
    }
    words: list[str] = []
    for file in FIGURES[figure].files:
        make = makers.get(file)
        words += [f"--{file}", str(make(folder / f"{file}.csv") if make else CLIP / f"{file}.csv")]
    return words


@pytest.mark.parametrize("figure", FIGURES)
def test_both_kinds_and_the_same_bytes_again(figure: str, tmp_path: Path) -> None:
    files = files_of(figure, tmp_path)
    written = []
    for folder in ("one", "two"):
        out = [tmp_path / folder / f"x.{kind}" for kind in ("png", "svg")]
        main([figure, *files, "--out", *map(str, out)])
        written.append([path.read_bytes() for path in out])
    assert written[0] == written[1]
    assert b"<dc:date>" not in written[0][1]
    with Image.open(tmp_path / "one/x.png") as image:
        assert min(image.size) > 300


@pytest.mark.parametrize("figure", FIGURES)
def test_a_file_that_is_missing_is_a_sentence(
    figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for file in FIGURES[figure].files for word in (f"--{file}", "none.csv")]
    with pytest.raises(SystemExit, match="2"):
        main([figure, *options, "--out", str(tmp_path / "x.png")])
    assert capsys.readouterr().err == "error: none.csv: no such file; run the experiment first\n"


@pytest.mark.parametrize("figure", FIGURES)
def test_another_kind_of_file_is_refused(
    figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    options = [word for file in FIGURES[figure].files for word in (f"--{file}", str(other))]
    with pytest.raises(SystemExit, match="2"):
        main([figure, *options, "--out", str(tmp_path / "x.png")])
    assert f"{other}: has no column " in capsys.readouterr().err


def test_lines_are_told_apart_without_colour() -> None:
    looks = [style(place) for place in range(42)]
    shapes = {(str(look["linestyle"]), look["marker"]) for look in looks}
    assert len(shapes) == len(looks)
    assert len({str(look["linestyle"]) for look in looks[:6]}) == 6
