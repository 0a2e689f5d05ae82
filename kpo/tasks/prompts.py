"""Prompt protocols: how a problem becomes the tokens that a model sees. Named and recorded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

BOX_INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True)
class PromptProtocol:
    """A template with the field {problem}, and whether the tokenizer's chat template wraps it."""

    name: str
    template: str
    chat: bool

    def encode(self, tokenizer: Any, problem: str) -> list[int]:
        """Token ids of the prompt; a tokenizer without a chat template gets the plain text."""
        text = self.template.replace("{problem}", problem)  # problems hold braces of their own
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
        """What a manifest records: the name and the hashes of both templates."""
        chat = tokenizer.chat_template if self.chat else None
        return {
            "name": self.name,
            "template_sha256": _digest(self.template),
            "chat_template_sha256": _digest(str(chat)) if chat else None,
        }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


PROTOCOLS: dict[str, PromptProtocol] = {
    protocol.name: protocol
    for protocol in (
        PromptProtocol("plain", "{problem}\n", chat=False),
        PromptProtocol("boxed", "{problem}\n\n" + BOX_INSTRUCTION + "\n", chat=True),
    )
}
