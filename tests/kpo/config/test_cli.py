"""The arguments of commands that name an experiment or a method of it."""

import argparse
import re
from pathlib import Path

import pytest

from kpo.common.cli import UserError
from kpo.config.cli import experiment_of, method_parser
from kpo.config.experiment import Experiment
from tests.kpo.config.experiments import SCRATCH, write

OPTIONS = ("--config", "--method", "--base")


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "base").mkdir()
    path = write(tmp_path / "x.yaml", SCRATCH)
    return {"--config": str(path), "--method": "kpo", "--base": str(tmp_path / "base")}


def parsed(given: dict[str, str]) -> argparse.Namespace:
    parser = method_parser("kpo.one", "What it does.", "What to mind.")
    return parser.parse_args([word for pair in given.items() for word in pair])


def test_a_method_of_an_experiment(given: dict[str, str]) -> None:
    args = parsed(given)
    assert experiment_of(args) == Experiment.model_validate(SCRATCH)
    assert (args.method, args.base) == ("kpo", Path(given["--base"]))


@pytest.mark.parametrize("option", OPTIONS)
def test_none_may_be_left_out(
    option: str, given: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    del given[option]
    with pytest.raises(SystemExit) as ended:
        parsed(given)
    assert ended.value.code == 2
    assert f"required: {option}\n" in capsys.readouterr().err


def test_each_says_what_it_is(given: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed({**given, "--help": ""})
    said = capsys.readouterr().out
    for words in ("usage: python -m kpo.one ", "\n\nWhat it does.\n\n", "\n\nWhat to mind.\n"):
        assert words in said
    for option in OPTIONS:
        assert re.search(rf"  {option} [A-Z]+ +\w", said), option


def test_what_is_not_there(given: dict[str, str]) -> None:
    with pytest.raises(UserError) as error:
        experiment_of(parsed({**given, "--method": "gspo"}))
    assert str(error.value) == f"{given['--config']}: no method 'gspo'; there is grpo, kpo"
    with pytest.raises(UserError) as error:
        experiment_of(parsed({**given, "--base": "nowhere"}))
    assert str(error.value) == "--base nowhere: no such folder"
