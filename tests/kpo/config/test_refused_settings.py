"""Settings that are refused. The sentence is what a user sees, so it is compared as a whole."""

from pathlib import Path
from typing import Any

import pytest

from tests.kpo.config.experiments import DROP, GRPO, NAME_RULE, SCRATCH, changed, refusal

WHOLE = (
    "must be 1 while training: the importance ratio compares whole distributions at temperature 1"
)
OFF = WHOLE.replace("must be 1", "must be 0 (off)")
SAMPLED = "which must also be those that were sampled from"
REFUSED: list[tuple[str, Any, str]] = [
    # unknown keys, at every level
    (
        "seed",
        0,
        "seed: unknown key (its value is 0); allowed: experiment, seeds, prompt, task, policy,"
        " data, train, evaluate, grading, methods, compare",
    ),
    (
        "task/problems",
        1,
        "task: chained_sums has no setting 'problems'; it has kind, tiers, train, test, held_out,"
        " slip, seed",
    ),
    (
        "policy/sft/step",
        1,
        "policy.sft.step: unknown key (its value is 1); allowed: steps, batch, lr, seed",
    ),
    (
        "policy/scratch",
        {},
        "policy.scratch: unknown key (its value is {}); allowed: kind, hidden_size, layers, heads,"
        " kv_heads, head_dim, feed_forward, initializer_range, sft",
    ),
    (
        "grading/timeout",
        9,
        "grading.timeout: unknown key (its value is 9); allowed: rule, timeout_s, memory_mb",
    ),
    # keys of former versions
    ("policy/warm_up", {}, "policy.warm_up: this key is now called policy.sft"),
    ("policy/sft/slip", 0.2, "policy.sft.slip: this key is now called task.slip"),
    (
        "train/max_rollout_gap",
        0.1,
        "train.max_rollout_gap: this key is now called train.max_logprob_mismatch",
    ),
    # missing keys
    ("train/lr", DROP, "train.lr: this key is missing"),
    ("methods", DROP, "methods: this key is missing"),
    ("methods/grpo/label", DROP, "methods.grpo.label: this key is missing"),
    ("policy/kind", DROP, "policy.kind: this key is missing"),
    ("task", DROP, "task: this key is missing; a policy of kind scratch learns from it"),
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
    ("task/kind", "sums", "task: unknown kind 'sums'; there is chained_sums, sorting"),
    ("task/tiers", {}, "task.tiers is {}, but must not be empty"),
    ("task/tiers", {"x": [3]}, "task.tiers.x[1]: this key is missing"),
    (
        "task/tiers",
        {"x": [4, 3]},
        "task.tiers is {'x': [4, 3]}, but must have at each tier two sizes in 2..200, the smaller"
        " first, not x: [4, 3]",
    ),
    (
        "task/tiers",
        {"train": [3, 4]},
        "task: chained_sums must have test sets with names of their own, other than train, but has"
        " train",
    ),
    (
        "task",
        {"tiers": {"x": [2, 2]}, "train": 629},
        "task: train is 629, but must be at most 628 for these tiers",
    ),
    ("task/slip", -0.1, "task.slip is -0.1, but must be at least 0"),
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
    (
        "train/max_logprob_mismatch",
        0.0,
        "train.max_logprob_mismatch is 0.0, but must be greater than 0",
    ),
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
        "methods.grpo: unknown objective 'ppo'; there is cispo, dapo, dppo_tv, dr_grpo, fipo,"
        " gmpo, grpo, gspo, kpo, reinforce, sapo, token_clipped, vespo",
    ),
    (
        "methods/grpo/role",
        "main",
        "methods.grpo.role is 'main', but must be 'baseline', 'control' or 'proposed'",
    ),
    (
        "methods/grpo/q",
        1e-6,
        "methods.grpo: objective grpo: no setting 'q'; there is clip_low, clip_high",
    ),
    (
        "methods/grpo/name",
        "x",
        "methods.grpo: objective grpo: no setting 'name'; there is clip_low, clip_high",
    ),
    (
        "methods/grpo/clip_low",
        "0.2",
        "methods.grpo: objective grpo: clip_low is '0.2', but must be a valid number",
    ),
    (
        "methods/grpo/clip_low",
        1.0,
        "methods.grpo: objective grpo: clip_low is 1.0, but must be less than 1",
    ),
    (
        "methods/kpo/memory",
        9,
        "methods.kpo: objective kpo: give exactly one of q and memory, got q=1e-06, memory=9",
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


def test_every_fault_has_its_sentence(tmp_path: Path) -> None:
    content = changed(changed(SCRATCH, "train/steps", 0), "evaluate/k", 3)
    assert [line.split()[0] for line in refusal(tmp_path, content)] == [
        "train.steps",
        "evaluate.k:",
    ]


@pytest.mark.parametrize(
    ("value", "shown"), [("9" * 78, f"'{'9' * 78}'"), ("9" * 79, f"'{'9' * 76}...")]
)
def test_a_value_of_more_than_80_characters_is_cut(tmp_path: Path, value: str, shown: str) -> None:
    (sentence,) = refusal(tmp_path, changed(SCRATCH, "train/steps", value))
    assert sentence == f"train.steps is {shown}, but must be an integer"
