"""Whether an experiment's sequences fit its policy, as far as the file alone can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kpo.config.policy import PretrainedPolicy
from kpo.tasks.chained_sums import LONGEST_TEXT
from kpo.tasks.prompts import PROTOCOLS, Phase

if TYPE_CHECKING:
    from kpo.config.experiment import Experiment

LEAST_POSITIONS = 256


def scratch_positions(experiment: Experiment) -> int:
    """Positions of a policy made from scratch: what the longest sequence takes, at least 256.

    Its positions are rotary: their number limits sequences, but no weight depends on it.
    """
    evaluated = _task_prompt(experiment, "evaluation") + experiment.evaluate.max_response_tokens
    return max(LEAST_POSITIONS, experiment.train.longest, evaluated)


def length_faults(experiment: Experiment) -> Iterator[str]:
    """A sentence for everything that is too long, naming the setting to change."""
    train, policy = experiment.train, experiment.policy
    if experiment.task is not None:
        longest = _task_prompt(experiment, "training")
        if longest > train.max_prompt_tokens:
            yield (
                f"train.max_prompt_tokens is {train.max_prompt_tokens}, but must be at least"
                f" {longest}, the task's longest prompt under prompt {experiment.prompt}"
            )
    if isinstance(policy, PretrainedPolicy) and policy.architecture is not None:
        room = policy.architecture.positions
        yield from beyond_the_model(experiment, room)


def beyond_the_model(experiment: Experiment, room: int) -> Iterator[str]:
    """A sentence for every length that a model with `room` positions cannot have."""
    longest, response = experiment.train.longest, experiment.evaluate.max_response_tokens
    if longest > room:
        yield (
            f"train.max_prompt_tokens + train.max_response_tokens is {longest}, more than the"
            f" model's {room} positions: lower either"
        )
    if response >= room:
        yield (
            f"evaluate.max_response_tokens is {response}, but must be less than the model's {room}"
            " positions, which the prompt shares"
        )


def _task_prompt(experiment: Experiment, phase: Phase) -> int:
    """Tokens of the embedded task's longest prompt; the tokenizer's are characters."""
    protocol = PROTOCOLS[experiment.prompt]
    template = protocol.training if phase == "training" else protocol.evaluation
    return len(template.replace("{problem}", "")) + LONGEST_TEXT
