"""`python -m kpo.diagnose`, on dumps of the shapes that verl and TRL write."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kpo import diagnose
from kpo.config.experiment import Experiment
from kpo.diagnosis.recipes import TRL, VERL
from kpo.registry import OBJECTIVES
from kpo.series.run import run
from tests.kpo.config.experiments import changed
from tests.kpo.diagnosis.dumps import made_rows, write_lines, write_parquet
from tests.kpo.random_base import letter_experiment

ROWS = made_rows(24, seed=1, longest=12)
FIGURES = ("table", "of", "figure", "value")


def figures(place: Path, out: Path, *arguments: str) -> list[tuple[str, ...]]:
    """The CSV of a dump, without stage and use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["diagnose", str(place), "--out", str(out), *arguments])
        diagnose.main()
    with out.open() as file:
        return [tuple(row[name] for name in FIGURES) for row in csv.DictReader(file)]


def tensors() -> dict[str, Tensor]:
    """ROWS as trainers hold them: right-padded, with a mask, numbers of float32."""
    length = max(len(row["logprobs"]) for row in ROWS)
    names = "logprobs", "old_logprobs", "rollout_logprobs"
    found = {name: torch.full((len(ROWS), length), 7.0) for name in names}
    mask = torch.zeros(len(ROWS), length, dtype=torch.int64)
    for i, row in enumerate(ROWS):
        T = len(row["logprobs"])
        mask[i, :T] = 1
        for name in names:
            found[name][i, :T] = torch.tensor(row[name])
    advantages = torch.tensor([row["advantage"] for row in ROWS])
    return {**found, "mask": mask, "advantages": advantages}


class Tokenizer:
    def batch_decode(self, ids: list[list[int]]) -> list[str]:
        return [f"<{token}>" for (token,) in ids]


def plain(folder: Path, **more: str) -> list[tuple[str, ...]]:
    """The figures of the same rows, written as they are, without steps and uses but `more`."""
    rows = [{k: v for k, v in r.items() if k not in ("step", "use")} | more for r in ROWS]
    return figures(write_lines(folder / "plain.jsonl", rows), folder / "plain.csv")


def same_but_for_chance(one: list[tuple[str, ...]], other: list[tuple[str, ...]]) -> None:
    chance = "shuffled", "random signs"  # seeded by stage and use
    assert [row for row in one if row[1] not in chance] == [
        row for row in other if row[1] not in chance
    ]


def test_a_dump_of_verl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tensors()
    batch = {
        "old_log_probs": own["old_logprobs"],
        "rollout_log_probs": own["rollout_logprobs"],
        "response_mask": own["mask"],
        "advantages": own["advantages"][:, None] * own["mask"],
        "responses": own["mask"] * 5,
    }
    present = SimpleNamespace(batch={"old_log_probs": own["logprobs"]})
    trainer = SimpleNamespace(
        global_steps=3, tokenizer=Tokenizer(), _compute_old_log_prob=lambda batch: (present, 0.0)
    )
    (tmp_path / "dump").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(VERL, {"self": trainer, "batch": SimpleNamespace(batch=batch)})
    (file,) = Path("dump").iterdir()
    assert file.name == "000003.parquet"
    found = figures(Path("dump"), tmp_path / "out.csv")
    same_but_for_chance(found, plain(tmp_path, use="later"))


def test_a_dump_of_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tensors()
    stub: Any = ModuleType("trl")

    class GRPOTrainer:
        processing_class, state = Tokenizer(), SimpleNamespace(global_step=3)

        def _get_per_token_logps_and_entropies(
            self, model: Tensor, ids: Tensor, attention: Tensor, kept: int
        ) -> tuple[Tensor, None, None]:
            assert ids.shape == attention.shape == (len(model), kept + 2)
            return model, None, None

        def _compute_loss(self, model: object, inputs: Mapping[str, Tensor]) -> str:
            return "loss"

    stub.GRPOTrainer = GRPOTrainer
    monkeypatch.setitem(sys.modules, "trl", stub)
    names: dict[str, Any] = {}
    exec(TRL, names)
    trainer = names["Dumping"]()
    (tmp_path / "dump").mkdir()
    monkeypatch.chdir(tmp_path)
    for rows in (slice(0, 10), slice(10, None)):  # micro-batches
        inputs = {
            "prompt_ids": own["mask"][rows, :1].expand(-1, 2),
            "prompt_mask": own["mask"][rows, :1].expand(-1, 2),
            "completion_ids": own["mask"][rows] * 5,
            "completion_mask": torch.ones_like(own["mask"][rows]),
            "tool_mask": own["mask"][rows],
            "old_per_token_logps": own["old_logprobs"][rows],
            "sampling_per_token_logps": own["rollout_logprobs"][rows],
            "advantages": own["advantages"][rows],
        }
        model = own["logprobs"][rows]  # what it will be asked for
        assert trainer._compute_loss(model, inputs) == "loss"
        assert trainer._compute_loss(model, {}) == "loss"
    found = figures(Path("dump"), tmp_path / "out.csv")
    same_but_for_chance(found, plain(tmp_path))


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures(write_parquet(tmp_path / "dump", ROWS), tmp_path / "out.csv")
    printed = capsys.readouterr().out
    assert "logprobs is present, old_logprobs is old, rollout_logprobs is rollout" in printed
    assert "end of training, later passes: updates were made on these responses be" in printed
    assert printed.count("\n  switch ") == printed.count("Signs without memory, ") == 6
    for name in OBJECTIVES:
        assert printed.count(f"\n  {name} ") == 6
    assert max(len(line) for line in printed.splitlines() if line.startswith(" ")) <= 100


def test_the_methods_of_an_experiment(tmp_path: Path) -> None:
    place = write_lines(tmp_path / "dump", ROWS)
    config = "workflow/config/structure.yaml"
    found = figures(place, tmp_path / "out.csv", "--config", config)
    names = {of for table, of, *_ in found if table == "objectives"}
    assert names == {"grpo", "token-clipped", "gspo", "kpo-clipped", "kpo-clipped-diffuse"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--column", "now=a"], "error: --column now=a: wanted is ROLE=NAME with a ROLE of pres"),
        (["--column", "old=nowhere"], "error: {dump}: no column 'nowhere'; there is logprobs, "),
        (["--config", "nowhere.yaml"], "error: nowhere.yaml: "),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    dump = write_lines(tmp_path / "dump", ROWS)
    with pytest.raises(SystemExit) as end:
        figures(dump, tmp_path / "out.csv", *arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(sentence.format(dump=dump))
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_is_no_file_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--out", "--html"):
        with pytest.raises(SystemExit) as end:
            figures(tmp_path / "nowhere", tmp_path / "out.csv", option, str(tmp_path))
        assert end.value.code == 2
        sentence = f"error: {tmp_path}: a folder; wanted is the name of a file to write\n"
        assert capsys.readouterr().err == sentence


def test_the_page_is_written_beside_the_figures(tmp_path: Path) -> None:
    dump = write_lines(tmp_path / "dump", ROWS)
    html = tmp_path / "new/page.html"
    with_page = figures(dump, tmp_path / "out.csv", "--html", str(html))
    assert with_page == figures(dump, tmp_path / "out.csv")
    text = html.read_text()
    assert "24 of 24 responses" in text
    assert "What is 5?" in text
    assert "&lt;23&amp;0&gt;" in text


def test_advantages_that_differ_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [dict(row) for row in ROWS]
    row = next(row for row in rows if len(row["logprobs"]) > 2)
    row["advantage"] = [1.0, -1.0, *[0.0] * (len(row["logprobs"]) - 2)]
    others = [r | {"advantage": [r["advantage"]] * len(r["logprobs"])} for r in rows if r != row]
    figures(write_lines(tmp_path / "dump", [*others, row]), tmp_path / "out.csv")
    assert "warning: 1 responses have advantages that differ from" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dump_of_our_own_run_gives_the_figures_of_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = changed(letter_experiment(tmp_path, monkeypatch), "train/passes", 2)
    experiment = Experiment.model_validate({**tree, "seeds": [0, 1]})
    table, dump = tmp_path / "structure.csv", tmp_path / "dump"
    run(experiment, tmp_path / "base", tmp_path, table, dump)
    with table.open() as file:
        expected = list(csv.DictReader(file))
    assert {row["use"] for row in expected} == {"first", "later"}
    for name, method in experiment.methods.items():
        out = tmp_path / f"{name}.csv"
        figures(dump / f"{name}.parquet", out)
        with out.open() as file:
            found = {tuple(list(row.values())[:-1]): row["value"] for row in csv.DictReader(file)}
        own = [row for row in expected if row["method"] == method.label]
        measures = list(own[0])[5:]
        assert len(measures) > 70
        for row in own:
            place = row["stage"], row["use"], "structure", row["what"]
            assert [found[*place, one] for one in measures] == [row[one] for one in measures]
