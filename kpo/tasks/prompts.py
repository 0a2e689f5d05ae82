"""Prompt protocols: how a problem becomes the tokens that a model sees, and where its answer is.

Named and recorded. A protocol may ask for the answer in training and not in evaluation, as the
authors' code does (`official`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["training", "evaluation"]

BOX_INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}."
HASHES_INSTRUCTION = 'Work through it step by step, and write your final answer behind "####".'


@dataclass(frozen=True)
class PromptProtocol:
    """Templates with the field {problem}, and how responses to them are read.

    Attributes:
        name: what experiment files call it.
        training: template of the training prompts.
        evaluation: template of the benchmarks' prompts.
        chat: whether the tokenizer's chat template wraps them.
        answers: where the answer of a response is, a key of `evals.answers.EXTRACTORS`; the same
            in training and evaluation.
    """

    name: str
    training: str
    evaluation: str
    chat: bool
    answers: str

    def encode(self, tokenizer: Any, problem: str, phase: Phase) -> list[int]:
        """Token ids of the prompt; a tokenizer without a chat template gets the plain text."""
        template = self.training if phase == "training" else self.evaluation
        text = template.replace("{problem}", problem)  # problems hold braces of their own
        if self.chat and tokenizer.chat_template:
            encoded = tokenizer.apply_chat_template(
                [{"role": "user", "content": text}],
                add_generation_prompt=True,
                enable_thinking=False,  # templates without a thinking mode ignore it
                return_dict=True,
            )
            return list(encoded["input_ids"])
        return list(tokenizer(text)["input_ids"])

    def identity(self, tokenizer: Any) -> dict[str, str | None]:
        """What a manifest records: the name, the hashes of the templates, where answers are."""
        chat = tokenizer.chat_template if self.chat else None
        return {
            "name": self.name,
            "template_sha256": _digest(self.evaluation),
            "training_template_sha256": _digest(self.training),
            "chat_template_sha256": _digest(str(chat)) if chat else None,
            "answers": self.answers,
        }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _everywhere(name: str, template: str, *, chat: bool) -> PromptProtocol:
    """A protocol with one template, whose answers are boxed."""
    return PromptProtocol(name, training=template, evaluation=template, chat=chat, answers="boxed")


PROTOCOLS: dict[str, PromptProtocol] = {
    protocol.name: protocol
    for protocol in (
        _everywhere("plain", "{problem}\n", chat=False),
        _everywhere("boxed", "{problem}\n\n" + BOX_INSTRUCTION + "\n", chat=True),
        PromptProtocol(
            "official",
            training="{problem} " + HASHES_INSTRUCTION,
            evaluation="{problem}",
            chat=True,
            answers="boxed-or-hashes",
        ),
    )
}
