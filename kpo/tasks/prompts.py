"""Prompt protocols: how a problem becomes the tokens that a model sees, and where its answer is.

Named and recorded. A protocol may ask for the answer in training and not in evaluation, as the
authors' code does (`official`).

Deviation: the paper's text appends an instruction to reason step by step; the wording here is our
own, and evaluation asks as training does. Switch: `prompt`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kpo.common.files import sha256_json

Phase = Literal["training", "evaluation"]

BOX_INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}."
_BOXED = f"{{problem}}\n\n{BOX_INSTRUCTION}\n"
HASHES_INSTRUCTION = 'Work through it step by step, and write your final answer behind "####".'

_OPENS_THINKING = re.compile(
    r"[<\[◁]\|?(?:start_|seed:)?(?:think|thinking|thought|reasoning)\|?[>\]▷]\s*\Z", re.IGNORECASE
)


@dataclass(frozen=True)
class PromptProtocol:
    """Templates with the field {problem}, and how responses to them are read.

    Attributes:
        name: what experiment files call it.
        training: template of the training prompts.
        evaluation: template of the benchmarks' prompts.
        chat: whether the tokenizer's chat template wraps them.
        answers: where the answer of a response is, a key of
            `evals.grading.extract.EXTRACTORS`; the same in training and evaluation.
    """

    name: str
    training: str
    evaluation: str
    chat: bool = True
    answers: str = "boxed"

    def text(self, problem: str, phase: Phase) -> str:
        """The prompt's text, before any chat template."""
        template: str = getattr(self, phase)
        return template.replace("{problem}", problem)  # which holds braces of its own

    def encode(self, tokenizer: Any, problem: str, phase: Phase) -> list[int]:
        """Token ids of the prompt; a tokenizer without a chat template gets the plain text."""
        text = self.text(problem, phase)
        if self.wraps(tokenizer):
            return list(_chat(tokenizer, text, return_dict=True)["input_ids"])
        ids = list(tokenizer(text)["input_ids"])
        while ids and ids[-1] == tokenizer.eos_token_id:  # some append it, as if all were said
            ids.pop()
        return ids

    def identity(self, tokenizer: Any, prompts: Iterable[Sequence[int]]) -> dict[str, str | None]:
        """What a manifest records: the name, the hashes of the templates, where answers are.

        `prompts` are the encoded prompts, in order: a template may print more than it is given,
        such as the date.
        """
        wraps = self.wraps(tokenizer)
        thinking = "forced on" if self.forces_thinking(tokenizer) else "off"
        return {
            "name": self.name,
            "template_sha256": _digest(self.evaluation),
            "training_template_sha256": _digest(self.training),
            "chat_template_sha256": _digest(str(tokenizer.chat_template)) if wraps else None,
            "thinking": thinking if wraps else None,
            "prompts_sha256": sha256_json([list(prompt) for prompt in prompts]),
            "answers": self.answers,
        }

    def forces_thinking(self, tokenizer: Any) -> bool:
        """Whether the chat template opens a block of thinking although it is asked not to."""
        return self.wraps(tokenizer) and bool(
            _OPENS_THINKING.search(_chat(tokenizer, "1+1=?", tokenize=False))
        )

    def wraps(self, tokenizer: Any) -> bool:
        """Whether prompts stand in the tokenizer's chat template."""
        return self.chat and bool(tokenizer.chat_template)


PROTOCOLS: dict[str, PromptProtocol] = {
    "plain": PromptProtocol("plain", "{problem}\n", "{problem}\n", chat=False),
    "boxed": PromptProtocol("boxed", _BOXED, _BOXED),
    "official": PromptProtocol(
        "official", "{problem} " + HASHES_INSTRUCTION, "{problem}", answers="boxed-or-hashes"
    ),
}
FORCED_THINKING = (
    "the model's chat template opens a block of thinking although thinking was asked off: its"
    " responses will be longer than those of models that answer at once, and manifests say so"
)


def _chat(tokenizer: Any, text: str, **options: Any) -> Any:
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": text}],
        add_generation_prompt=True,
        enable_thinking=False,  # templates without a thinking mode ignore it
        **options,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
