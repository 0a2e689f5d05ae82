"""Training prompts: those of the training phase of the prompt protocol, none too long."""

from typing import Any

import pytest

from kpo.config.experiment import Experiment
from kpo.tasks.problems import DataError, Problem, content_hash
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.batch import Prompt
from kpo.trainer.prompts import load_prompts
from kpo.trainer.training_set import TrainingSet, stated
from tests.kpo.models import tiny_policy

PROBLEMS = [Problem("a", "1+1=?", "2"), Problem("b", "1+1+1+1=?", "4"), Problem("c", "2+1=?", "3")]
FOUND: dict[str, Any] = {
    "name": "gsm8k-train",
    "rows": 5,
    "problems": 3,
    "problems_sha256": content_hash(PROBLEMS),
    "dropped": {"duplicates": 2},
}


def load(
    found: list[Problem] = PROBLEMS,
    prompt: str = "plain",
    data: Any = None,
    evaluate: Any = None,
    **train: Any,
) -> tuple[list[Prompt], TrainingSet]:
    experiment = Experiment.model_validate(
        {
            "experiment": "test",
            "seeds": [0],
            "prompt": prompt,
            "policy": {"kind": "pretrained", "model": "a/model"},
            "train": {
                "problems": "gsm8k-train",
                "steps": 1,
                "max_prompt_tokens": 100,
                "max_response_tokens": 8,
                "lr": 1.0,
                **train,
            },
            "evaluate": {"benchmarks": ["gsm8k"], "max_response_tokens": 8, **(evaluate or {})},
            "methods": {"grpo": {"objective": "grpo", "label": "GRPO"}},
            "data": data or {},
        }
    )
    policy = tiny_policy()
    found_set = TrainingSet(found, FOUND, [])
    return load_prompts(experiment, policy.model.config, policy.tokenizer, found_set)


@pytest.mark.parametrize("prompt", ["boxed", "official"])
def test_prompts_are_of_the_training_phase(prompt: str) -> None:
    prompts, _ = load(PROBLEMS[:1], prompt)
    expected = PROTOCOLS[prompt].training.replace("{problem}", "1+1=?")
    tokenizer = tiny_policy().tokenizer
    assert [tokenizer.decode(p.tokens) for p in prompts] == [expected]
    assert prompts[0].answer == "2"


def test_prompts_that_are_too_long_are_dropped_and_counted() -> None:
    prompts, found = load(max_prompt_tokens=len("1+1=?\n"))
    assert [prompt.id for prompt in prompts] == ["a", "c"]
    assert [drop.row() for drop in found.drops] == [
        {"reason": "overlong", "ids": ["b"], "tokens": len("1+1+1+1=?\n")}
    ]
    content = content_hash([PROBLEMS[0], PROBLEMS[2]])
    assert found.record["problems_sha256"] == content
    assert found.record["cleaned_sha256"] == FOUND["problems_sha256"] != content
    assert stated(found.record) == (
        "gsm8k-train: 2 of 5 rows are trained on; dropped: 2 duplicates, 1 overlong"
    )


def test_nothing_is_dropped_where_all_fit() -> None:
    _, found = load()
    assert found.problems == PROBLEMS
    assert found.record == {**FOUND, "cleaned_sha256": content_hash(PROBLEMS)}


def test_prompts_that_are_too_long_can_be_refused() -> None:
    with pytest.raises(DataError) as error:
        load(max_prompt_tokens=6, data={"overlong": "refuse"})
    assert str(error.value) == (
        "gsm8k-train: 1 rows make a prompt of more than train.max_prompt_tokens; the first is b"
        " (tokens 10); data.overlong: drop would leave them out"
    )


def test_no_prompt_that_fits() -> None:
    with pytest.raises(
        DataError, match=r"every prompt has more than train.max_prompt_tokens \(3\)"
    ):
        load(max_prompt_tokens=3)


def test_too_few_problems_are_left_for_a_step() -> None:
    epochs: dict[str, Any] = {"steps": None, "epochs": 1, "prompts": 3, "mini_batches": 1}
    assert len(load(**epochs)[0]) == 3
    with pytest.raises(DataError, match=r"epochs \(1\) over 2 problems is less than one step"):
        load(**epochs, max_prompt_tokens=6)


def test_a_model_without_room_for_what_is_asked() -> None:
    load(max_response_tokens=28)
    with pytest.raises(DataError, match="is 129, more than the model's 128 positions"):
        load(max_response_tokens=29)
    load(evaluate={"max_response_tokens": 127})
    with pytest.raises(DataError, match="must be less than the model's 128 positions"):
        load(evaluate={"max_response_tokens": 128})
