"""Experiment files: what is read, what is refused and in which words, and what reruns what."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kpo.common.source_code import code_hash
from kpo.config.experiment import ConfigError, Experiment, load_experiment
from tests.configs import CONFIGS

DROP = object()  # as a new value: take the key out
Tree = dict[str, Any]

SCRATCH: Tree = {
    "experiment": "small",
    "seeds": [0, 1],
    "prompt": "plain",
    "task": {"train": 64, "test": 4},
    "policy": {"kind": "scratch", "warm_up": {"steps": 3}},
    "train": {
        "problems": "train",
        "steps": 2,
        "prompts": 8,
        "max_prompt_tokens": 24,
        "max_response_tokens": 80,
        "lr": 1e-4,
    },
    "evaluate": {"benchmarks": ["easy", "hard"], "max_response_tokens": 80},
    "methods": {
        "grpo": {"objective": "grpo", "label": "GRPO"},
        "kpo": {"objective": "kpo", "label": "KPO", "q": 1e-6},
    },
}
HUB: Tree = {
    **SCRATCH,
    "task": None,
    "policy": {"kind": "pretrained", "model": "some/model"},
    "train": {**SCRATCH["train"], "problems": "gsm8k-train"},
    "evaluate": {"benchmarks": ["aime24", "math500"], "max_response_tokens": 80},
    "data": {"sources": {"mine": {"hub": "me/mine", "split": "train"}}},
}


@pytest.fixture(autouse=True)
def _no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)


def changed(tree: Tree, path: str, value: Any) -> Tree:
    """A copy with the value at `a/b/c` replaced, added or (DROP) taken out."""
    result = copy.deepcopy(tree)
    *parents, last = path.split("/")
    section = result
    for key in parents:
        section = section.setdefault(key, {})
    if value is DROP:
        del section[last]
    else:
        section[last] = value
    return result


def write(path: Path, content: Tree | str) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def load(folder: Path, content: Tree | str) -> Experiment:
    return load_experiment(write(folder / "x.yaml", content))


def refusal(folder: Path, content: Tree | str) -> list[str]:
    """The sentences, without the file's name at their beginning."""
    path = write(folder / "x.yaml", content)
    with pytest.raises(ConfigError) as error:
        load_experiment(path)
    sentences = str(error.value).splitlines()
    assert all(sentence.startswith(str(path)) for sentence in sentences)
    return [sentence.removeprefix(f"{path}: ") for sentence in sentences]


# What is accepted


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_committed_config_loads(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.experiment == path.stem
    assert len(experiment.runs) == len(experiment.methods) * len(experiment.seeds)


def test_there_are_committed_configs() -> None:
    expected = {"tiny", "tiny-offpolicy", "paper", "paper-official", "real-smoke"}
    assert expected <= {path.stem for path in CONFIGS}


def test_an_experiment_holds_what_the_file_says(tmp_path: Path) -> None:
    experiment = load(tmp_path, SCRATCH)
    assert experiment.runs == ["grpo-s0", "grpo-s1", "kpo-s0", "kpo-s1"]
    assert experiment.methods["kpo"].settings == {"q": 1e-6}
    assert experiment.evaluate.samples == 16
    assert experiment.train.lr == 1e-4


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-6", 1e-6),
        ("1E-6", 1e-6),
        ("2.5e-4", 2.5e-4),
        ("2.e-4", 2e-4),
        (".5e-3", 5e-4),
        ("+1e3", 1e3),
        ("1e+3", 1e3),
        ("0.01", 0.01),
        ("3", 3.0),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, text: str, number: float) -> None:
    content = yaml.safe_dump(changed(SCRATCH, "train/lr", "HERE")).replace("HERE", text)
    assert load(tmp_path, content).train.lr == number


def test_a_quoted_number_is_text(tmp_path: Path) -> None:
    content = yaml.safe_dump(changed(SCRATCH, "train/lr", "HERE")).replace("HERE", "'1e-6'")
    assert refusal(tmp_path, content) == ["train.lr is '1e-6', but must be a number"]


def test_one_greedy_sample(tmp_path: Path) -> None:
    greedy = changed(changed(SCRATCH, "evaluate/temperature", 0), "evaluate/samples", 1)
    assert load(tmp_path, greedy).evaluate.temperature == 0


def test_betas_are_a_list_of_two(tmp_path: Path) -> None:
    assert load(tmp_path, changed(SCRATCH, "train/betas", [0.8, 0.9])).train.betas == (0.8, 0.9)


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(SCRATCH, "methods", DROP)) + (
        "methods:\n"
        "  a: &shared { label: A, objective: grpo, clip_low: 0.1 }\n"
        "  b: { <<: *shared, label: B }\n"
    )
    experiment = load(tmp_path, text)
    assert experiment.methods["b"].settings == {"clip_low": 0.1}
    assert experiment.methods["b"].label == "B"


# What is refused. The sentence is what a user sees, so it is compared as a whole.

NAME_RULE = (
    "must have at most 64 characters, all of them lower-case letters, digits, '_', '-' or '.', and"
    " begin with a letter or digit"
)
GRPO = {"objective": "grpo", "label": "another"}
WHOLE = (
    "must be 1 while training: the importance ratio compares whole distributions at temperature 1"
)
OFF = "must be 0 (off) while training: the importance ratio compares whole distributions"
SAMPLED = "which must also be those that were sampled from"
REFUSED: list[tuple[str, Any, str]] = [
    # unknown keys, at every level
    (
        "seed",
        0,
        "seed: unknown key (its value is 0); allowed: experiment, seeds, prompt, task, policy,"
        " data, train, evaluate, grading, methods",
    ),
    (
        "task/problems",
        1,
        "task.problems: unknown key (its value is 1); allowed: train, test, seed",
    ),
    (
        "policy/warm_up/step",
        1,
        "policy.warm_up.step: unknown key (its value is 1); allowed: steps, batch, lr, slip, seed",
    ),
    (
        "policy/scratch",
        {},
        "policy.scratch: unknown key (its value is {}); allowed: kind, hidden_size, layers, heads,"
        " kv_heads, head_dim, feed_forward, initializer_range, warm_up",
    ),
    (
        "grading/timeout",
        9,
        "grading.timeout: unknown key (its value is 9); allowed: rule, timeout_s, memory_mb",
    ),
    # missing keys
    ("train/lr", DROP, "train.lr: this key is missing"),
    ("methods", DROP, "methods: this key is missing"),
    ("methods/grpo/label", DROP, "methods.grpo.label: this key is missing"),
    ("policy/kind", DROP, "policy.kind: this key is missing"),
    ("task", DROP, "task: this key is missing; a policy of kind scratch warms up on it"),
    # types
    ("train/steps", "20", "train.steps is '20', but must be an integer"),
    ("train/steps", 2.0, "train.steps is 2.0, but must be an integer"),
    ("train/steps", True, "train.steps is True, but must be an integer"),
    ("train/prompts", None, "train.prompts is None, but must be an integer"),
    ("train/lr", True, "train.lr is True, but must be a number"),
    ("train/betas", 0.9, "train.betas is 0.9, but must be a list"),
    ("train/betas", [0.9, 0.9, 0.9], "train.betas is [0.9, 0.9, 0.9], but must have 2 items"),
    ("train/betas", [0.9, "x"], "train.betas[1] is 'x', but must be a number"),
    ("train", [1], "train is [1], but must be a mapping of keys to values"),
    ("policy", "tiny", "policy is 'tiny', but must be a mapping of keys to values"),
    ("methods", [], "methods is [], but must be a mapping of keys to values"),
    ("methods/grpo", "grpo", "methods.grpo is 'grpo', but must be a mapping of keys to values"),
    ("methods/grpo/label", 7, "methods.grpo.label is 7, but must be a string"),
    ("seeds", 0, "seeds is 0, but must be a list"),
    ("seeds", [0, "1"], "seeds[1] is '1', but must be an integer"),
    # bounds and choices
    ("train/steps", 0, "train.steps is 0, but must be at least 1"),
    ("train/group", 1, "train.group is 1, but must be at least 2"),
    ("train/lr", 0, "train.lr is 0, but must be greater than 0"),
    ("train/lr", float("inf"), "train.lr is inf, but must be a finite number"),
    ("train/warm_up", 1.5, "train.warm_up is 1.5, but must be at most 1"),
    ("train/warm_up", float("nan"), "train.warm_up is nan, but must be a finite number"),
    ("train/betas", [0.9, 1.0], "train.betas[1] is 1.0, but must be less than 1"),
    ("train/gpus", 9, "train.gpus is 9, but must be at most 8"),
    ("evaluate/gpus", 9, "evaluate.gpus is 9, but must be at most 8"),
    ("evaluate/gpu_memory", 1.1, "evaluate.gpu_memory is 1.1, but must be at most 1"),
    ("train/dtype", "fp8", "train.dtype is 'fp8', but must be 'float32' or 'bfloat16'"),
    ("evaluate/engine", "x", "evaluate.engine is 'x', but must be 'transformers' or 'vllm'"),
    ("evaluate/temperature", -1, "evaluate.temperature is -1, but must be at least 0"),
    ("evaluate/top_p", 0, "evaluate.top_p is 0, but must be greater than 0"),
    ("evaluate/benchmarks", [], "evaluate.benchmarks is [], but must not be empty"),
    ("grading/memory_mb", 64, "grading.memory_mb is 64, but must be at least 512"),
    ("task/test", 50_000, "task.test is 50000, but must be at most 10000"),
    ("policy/kind", "x", "policy.kind is 'x', but must be one of 'scratch', 'pretrained'"),
    ("policy/warm_up/slip", -0.1, "policy.warm_up.slip is -0.1, but must be at least 0"),
    ("prompt", "chat", "prompt is 'chat', but must be one of plain, boxed, official"),
    ("seeds", [], "seeds is [], but must not be empty"),
    ("seeds", [3, -1], "seeds[1] is -1, but must be at least 0"),
    ("seeds", [3, 0, 3], "seeds is [3, 0, 3], but must not repeat a value, as it does 3"),
    (
        "evaluate/benchmarks",
        ["easy", "easy"],
        "evaluate.benchmarks is ['easy', 'easy'], but must not repeat a value, as it does 'easy'",
    ),
    ("experiment", "My run", f"experiment is 'My run', but {NAME_RULE}"),
    ("experiment", "x" * 65, f"experiment is '{'x' * 65}', but {NAME_RULE}"),
    (
        "experiment",
        "reference",
        "experiment is 'reference', but must not be the name of something else in results/",
    ),
    # what is sampled is what is modelled
    ("train/temperature", 0.6, f"train.temperature is 0.6, but {WHOLE}, {SAMPLED}"),
    ("train/temperature", 0.0, f"train.temperature is 0.0, but {WHOLE}, {SAMPLED}"),
    ("train/top_p", 0.95, f"train.top_p is 0.95, but {WHOLE}, {SAMPLED}"),
    ("train/top_k", 20, f"train.top_k is 20, but {OFF}, {SAMPLED}"),
    ("train/top_k", -1, f"train.top_k is -1, but {OFF}, {SAMPLED}"),
    ("train/max_rollout_gap", 0.0, "train.max_rollout_gap is 0.0, but must be greater than 0"),
    (
        "train/truncated_importance",
        0.0,
        "train.truncated_importance is 0.0, but must be greater than 0",
    ),
    # settings that do not go together
    (
        "train/mini_batches",
        3,
        "train: mini_batches (3) must divide prompts (8), as a mini-batch holds whole groups",
    ),
    (
        "train/epochs",
        1,
        "train: give either steps or epochs, got steps 2 and epochs 1",
    ),
    (
        "train/steps",
        DROP,
        "train: give either steps or epochs, got steps None and epochs None",
    ),
    (
        "evaluate",
        {**SCRATCH["evaluate"], "engine": "transformers", "gpus": 2},
        "evaluate: gpus is 2, but engine transformers uses at most 1; vllm uses more",
    ),
    (
        "evaluate/gpu_memory",
        0.5,
        "evaluate: gpu_memory (0.5) has no use without engine vllm on a GPU (engine is vllm, gpus"
        " 0); drop it",
    ),
    (
        "evaluate/temperature",
        0,
        "evaluate: samples is 16, but at temperature 0 all samples of a problem are the same: set"
        " samples to 1, or a higher temperature",
    ),
    (
        "evaluate/temperature",
        0.001,
        "evaluate: temperature is 0.001, but must be 0 or at least 0.01: vllm would raise it to"
        " that without a word",
    ),
    (
        "train/staleness",
        2,
        "train: staleness (2) must be less than steps (2): no rollouts can be older than the run",
    ),
    (
        "train",
        {**changed(SCRATCH, "train/steps", DROP)["train"], "epochs": 1, "prompts": 128},
        "train.epochs (1) over 64 problems is less than one step of train.prompts (128)",
    ),
    ("policy/head_dim", 33, "policy: head_dim (33) must be even: positions turn pairs"),
    (
        "policy/head_dim",
        16,
        "evaluate.engine is vllm, whose CPU build has no heads of the policy's size 16, but 32, 64,"
        " 80, 96, 112, 128, 160, 192, 224, 256, 512: take another head_dim, or engine transformers",
    ),
    ("policy/kv_heads", 2, "policy: kv_heads (2) must divide heads (3)"),
    (
        "train/problems",
        "easy",
        "train.problems is 'easy', but must be 'train', the task's training problems",
    ),
    (
        "evaluate/benchmarks",
        ["easy", "aime24"],
        "evaluate.benchmarks holds 'aime24', but the task's are easy, medium, hard",
    ),
    (
        "data/train_folder",
        "x",
        "data: has no use beside task, which makes the problems; drop one",
    ),
    # methods
    ("methods", {}, "methods is {}, but must not be empty"),
    ("methods/Bad name", GRPO, f"methods: the key 'Bad name' {NAME_RULE}"),
    (
        "methods/base",
        GRPO,
        "methods: the key 'base' must neither be base nor end in -s<number>, which name evaluated"
        " models",
    ),
    (
        "methods/grpo-s7",
        GRPO,
        "methods: the key 'grpo-s7' must neither be base nor end in -s<number>, which name"
        " evaluated models",
    ),
    (
        "methods/grpo/label",
        "KPO",
        "methods: the label 'KPO' stands at more than one method",
    ),
    (
        "methods/grpo/objective",
        "ppo",
        "methods.grpo: unknown objective 'ppo'; there is gmpo, grpo, gspo, kpo, token_clipped",
    ),
    (
        "methods/grpo/q",
        1e-6,
        "methods.grpo: objective grpo has no setting 'q'; it has clip_low, clip_high",
    ),
    (
        "methods/grpo/name",
        "x",
        "methods.grpo: objective grpo has no setting 'name'; it has clip_low, clip_high",
    ),
    (
        "methods/grpo/clip_low",
        "0.2",
        "methods.grpo: objective grpo: clip_low must be a number, got '0.2'",
    ),
    (
        "methods/grpo/clip_low",
        1.0,
        "methods.grpo: clip_low must be a number in [0, 1.0), got 1.0",
    ),
    (
        "methods/kpo/memory",
        9,
        "methods.kpo: kpo wants exactly one of q and memory, got q=1e-06, memory=9",
    ),
    # a key like a kind of policy is a key all the same
    ("methods/scratch", {"label": "S"}, "methods.scratch.objective: this key is missing"),
]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    REFUSED,
    ids=[f"{path}={value!r:.20}" for path, value, _ in REFUSED],
)
def test_refused(tmp_path: Path, path: str, value: Any, sentence: str) -> None:
    assert refusal(tmp_path, changed(SCRATCH, path, value)) == [sentence]


KNOWN = (
    "gsm8k-train, dapo-math-17k, aime24, aime25, amc23, math500, minerva, olympiadbench, gsm8k,"
    " mine; for any other a folder of data files must be named"
)
REFUSED_DATA: list[tuple[str, Any, str]] = [
    (
        "data/folder",
        "x",
        "data.folder: unknown key (its value is 'x'); allowed: train_folder, benchmarks_folder,"
        " sources, duplicates, contradictions, unusable_golds, contamination, overlong",
    ),
    (
        "data/sources/mine/hubb",
        "x",
        "data.sources.mine.hubb: unknown key (its value is 'x'); allowed: hub, split, subset,"
        " revision, problem, instruction, preamble, answer, answer_form, sha256",
    ),
    (
        "data/overlong",
        "skip",
        "data.overlong is 'skip', but must be 'drop' or 'refuse'",
    ),
    ("data/sources/mine/hub", 3, "data.sources.mine.hub is 3, but must be a string"),
    (
        "data/sources/mine/answer_form",
        "box",
        "data.sources.mine.answer_form is 'box', but must be 'plain', 'hashes', 'boxed' or 'first'",
    ),
    ("data/sources/Mine", {"hub": "a", "split": "b"}, f"data.sources: the key 'Mine' {NAME_RULE}"),
    ("data/train_folder", "", "data.train_folder is '', but must have at least 1 character"),
    ("data/train_folder", "/nope", "train.problems: /nope: no such file or folder"),
    ("data/benchmarks_folder", "/nope", "evaluate.benchmarks: /nope: no such file or folder"),
    ("train/problems", "gsm", f"train.problems: unknown data set 'gsm'; known: {KNOWN}"),
    (
        "evaluate/benchmarks",
        ["aime24", "aime26"],
        f"evaluate.benchmarks: unknown data set 'aime26'; known: {KNOWN}",
    ),
    (
        "policy/layers",
        3,
        "policy.layers: unknown key (its value is 3); allowed: kind, model, revision, architecture,"
        " wheel",
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "sentence"), REFUSED_DATA, ids=[path for path, _, _ in REFUSED_DATA]
)
def test_refused_data(tmp_path: Path, path: str, value: Any, sentence: str) -> None:
    assert refusal(tmp_path, changed(HUB, path, value)) == [sentence]


def test_a_source_of_ones_own_is_known(tmp_path: Path) -> None:
    assert load(tmp_path, changed(HUB, "train/problems", "mine")).train.problems == "mine"


@pytest.mark.parametrize("variable", ["KPO_TRAIN_PROBLEMS", "KPO_BENCHMARKS"])
def test_the_environments_folder_comes_before_the_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    content = changed(changed(HUB, "data/train_folder", "."), "data/benchmarks_folder", ".")
    for name in ("gsm8k-train", "aime24", "math500"):
        (tmp_path / f"{name}.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    load(tmp_path, content)
    monkeypatch.setenv(variable, "elsewhere")
    (sentence,) = refusal(tmp_path, content)
    assert sentence.endswith(" elsewhere: no such file or folder")


def test_several_benchmarks_do_not_come_from_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "aime24.jsonl"
    file.touch()
    monkeypatch.setenv("KPO_BENCHMARKS", str(file))
    assert refusal(tmp_path, HUB) == [
        f"evaluate.benchmarks: one file, {file}, cannot hold them all"
    ]
    load(tmp_path, changed(HUB, "evaluate/benchmarks", ["aime24"]))


def test_every_fault_has_its_sentence(tmp_path: Path) -> None:
    content = changed(changed(SCRATCH, "train/steps", 0), "evaluate/k", 3)
    assert [line.split()[0] for line in refusal(tmp_path, content)] == [
        "train.steps",
        "evaluate.k:",
    ]


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, changed(SCRATCH, "train/steps", "9" * 500))
    assert len(sentence) < 150


# YAML


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ": the file is empty"),
        ("# nothing\n", ": the file is empty"),
        ("- a\n- b\n", ": must be a mapping of keys to values, not ['a', 'b']"),
        ("tiny", ": must be a mapping of keys to values, not 'tiny'"),
        ("a: 1\nb: 2\na: 3\n", ", line 3: the key 'a' stands twice"),
        ("x:\n  y: 1\n  y: 1\n", ", line 3: the key 'y' stands twice"),
        ("a: [1, 2\n", ", line 2: expected ',' or ']', but got '<stream end>'"),
        ("a: *b\n", ", line 1: found undefined alias 'b'"),
        ("a: b: c\n", ", line 1: mapping values are not allowed here"),
        ("a: 2020-13-45\n", ": not readable as YAML: month must be in 1..12"),
        ("extends: [a]\n", ": extends is ['a'], but must name a file beside this one"),
    ],
)
def test_not_an_experiment_at_all(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path / "x.yaml", text)
    with pytest.raises(ConfigError) as error:
        load_experiment(path)
    assert str(error.value) == f"{path}{sentence}"


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"experiment: \xff\n")
    with pytest.raises(ConfigError, match=r"not readable as YAML.*0xff"):
        load_experiment(path)


def test_python_objects_are_not_made(tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, "a: !!python/object/apply:os.getcwd []\n")
    assert "could not determine a constructor" in sentence


def test_a_key_that_is_no_text(tmp_path: Path) -> None:
    assert "the key 1 must be a string" in refusal(tmp_path, "1: 2\n")


@pytest.mark.parametrize("name", ["nope.yaml", "."])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_experiment(tmp_path / name)


# extends


def test_extends_merges_mappings_and_replaces_methods(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", SCRATCH)
    (tmp_path / "more").mkdir()
    child = {
        "extends": "../base.yaml",
        "seeds": [7],
        "train": {"steps": 9},
        "policy": {"warm_up": {"lr": 0.5}},
        "methods": {"only": {"objective": "gspo", "label": "GSPO"}},
    }
    experiment = load(tmp_path / "more", child)
    expected = Experiment.model_validate(
        {
            **SCRATCH,
            "seeds": [7],
            "train": {**SCRATCH["train"], "steps": 9},
            "policy": {"kind": "scratch", "warm_up": {"steps": 3, "lr": 0.5}},
            "methods": child["methods"],
        }
    )
    assert experiment == expected


def test_extends_with_another_kind_of_policy_replaces_it(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", SCRATCH)
    policy = {"kind": "pretrained", "model": "some/model"}
    experiment = load(tmp_path, {"extends": "base.yaml", "policy": policy})
    assert experiment.policy.model_dump(exclude_none=True) == policy


def test_extends_can_take_a_section_away(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", changed(SCRATCH, "policy", HUB["policy"]))
    child = {key: HUB[key] for key in ("task", "train", "evaluate")}
    assert load(tmp_path, {"extends": "base.yaml", **child}).task is None


def test_a_chain_of_extends(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", SCRATCH)
    write(tmp_path / "b.yaml", {"extends": "a.yaml", "experiment": "b", "train": {"steps": 5}})
    experiment = load(tmp_path, {"extends": "b.yaml", "train": {"group": 4}})
    assert (experiment.experiment, experiment.train.steps, experiment.train.group) == ("b", 5, 4)


def test_extends_in_a_circle(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", {"extends": "x.yaml"})
    assert refusal(tmp_path, "extends: b.yaml\n") == ["extends itself (x.yaml -> b.yaml -> x.yaml)"]


def test_extends_a_missing_file(tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, "extends: nope.yaml\n")
    assert sentence == f"extends 'nope.yaml': {tmp_path / 'nope.yaml'}: no such file"


def test_faults_of_a_parent_name_its_file(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", "a: 1\na: 2\n")
    write(tmp_path / "x.yaml", "extends: b.yaml\n")
    with pytest.raises(ConfigError, match=r"b\.yaml, line 2"):
        load_experiment(tmp_path / "x.yaml")


# What a change reruns

STAGES = ("problems", "test_problems", "base", "data", "evaluate", "grade", "table")


def sections(experiment: Experiment) -> Iterator[tuple[str, Tree]]:
    for stage in STAGES:
        yield stage, experiment.section(stage)
    for method in experiment.methods:
        yield f"train {method}", experiment.section("train", method)


def rerun(folder: Path, before: Tree, after: Tree) -> set[str]:
    """Stages (and train of which method) that are there before and change, or go."""
    old, new = (dict(sections(load(folder, tree))) for tree in (before, after))
    return {stage for stage in old if old[stage] != new.get(stage)}


TRAIN = {"train grpo", "train kpo"}
CHANGES: list[tuple[Tree, str, Any, set[str]]] = [
    (SCRATCH, "experiment", "other", set()),
    (SCRATCH, "seeds", [0, 1, 2], {"table"}),
    (
        changed(SCRATCH, "train/max_prompt_tokens", 100),
        "prompt",
        "boxed",
        {"base", "evaluate", *TRAIN},
    ),
    (SCRATCH, "task/train", 5, {"problems"}),
    (SCRATCH, "task/test", 5, {"test_problems"}),
    (SCRATCH, "task/seed", 5, {"problems", "test_problems"}),
    (SCRATCH, "policy/layers", 2, {"base"}),
    (SCRATCH, "policy/warm_up/seed", 2, {"base"}),
    (SCRATCH, "train/lr", 2e-4, TRAIN),
    (SCRATCH, "train/threads", 2, set()),
    (SCRATCH, "train/max_response_tokens", 200, TRAIN),
    (SCRATCH, "train/max_response_tokens", 300, {"base", *TRAIN}),  # more positions
    (SCRATCH, "evaluate/max_response_tokens", 300, {"base", "evaluate", "table"}),
    (SCRATCH, "evaluate/samples", 8, {"evaluate", "table"}),
    (SCRATCH, "evaluate/threads", 2, set()),
    (SCRATCH, "grading/timeout_s", 1.5, {"grade", *TRAIN}),  # rewards are grades
    (SCRATCH, "grading/rule", "math_verify", {"grade", *TRAIN}),
    (SCRATCH, "methods/kpo/q", 1e-4, {"train kpo", "table"}),
    (SCRATCH, "methods/kpo/label", "New", {"table"}),
    (SCRATCH, "methods/more", GRPO, {"table"}),
    (SCRATCH, "methods/grpo", DROP, {"train grpo", "table"}),
    (SCRATCH, "methods/grpo/clip_low", 0.2, {"table"}),  # the default, spelled out
    (HUB, "policy/revision", "abc", {"base"}),
    (HUB, "prompt", "boxed", {"evaluate", *TRAIN}),
    (HUB, "data/train_folder", "data", {"data", *TRAIN}),
    (HUB, "data/benchmarks_folder", "data", {"evaluate"}),
    (HUB, "data/sources/gsm8k-train", {"hub": "a", "split": "b"}, {"data", *TRAIN}),
    (HUB, "data/sources/aime24", {"hub": "a", "split": "b"}, {"evaluate"}),
    (HUB, "data/sources/unused", {"hub": "a", "split": "b"}, set()),
    (HUB, "data/overlong", "refuse", TRAIN),
    *((HUB, f"data/{key}", "refuse", {"data"}) for key in ("duplicates", "contradictions")),
    (HUB, "data/unusable_golds", "drop", {"data"}),
    (HUB, "data/contamination", "keep", {"data"}),
    (HUB, "evaluate/benchmarks", ["aime24"], {"evaluate", "table"}),  # trains nothing again
]


@pytest.mark.parametrize(
    ("tree", "path", "value", "stages"), CHANGES, ids=[path for _, path, _, _ in CHANGES]
)
def test_a_change_reruns_what_depends_on_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tree: Tree,
    path: str,
    value: Any,
    stages: set[str],
) -> None:
    (tmp_path / "data").mkdir()
    for name in ("gsm8k-train", "aime24", "math500"):
        (tmp_path / "data" / f"{name}.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    assert rerun(tmp_path, tree, changed(tree, path, value)) == stages


def test_no_key_is_without_effect() -> None:
    """A new key of Experiment needs a stage that depends on it, and a line in CHANGES."""
    effective = {path.split("/")[0] for _, path, _, stages in CHANGES if stages}
    assert effective == set(Experiment.model_fields) - {"experiment"}


def test_a_training_section_records_the_objective_with_its_defaults(tmp_path: Path) -> None:
    experiment = load(tmp_path, SCRATCH)
    assert experiment.section("train", "grpo")["method"] == {
        "objective": "grpo",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "code": code_hash("baselines.grpo"),
    }
    kpo = experiment.section("train", "kpo")["method"]
    assert kpo["q"] == 1e-6
    assert kpo["memory"] == pytest.approx(1000, rel=1e-3)
