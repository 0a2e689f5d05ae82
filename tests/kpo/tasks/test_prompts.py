"""Prompt protocols: which text a model sees, through its chat template or plainly."""

from collections.abc import Sequence
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from kpo.evals.grading.extract import EXTRACTORS
from kpo.tasks.prompts import BOX_INSTRUCTION, HASHES_INSTRUCTION, PROTOCOLS, Phase
from kpo.tasks.tokenizer import EOS, PAD, character_tokenizer

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
    "{% if enable_thinking is defined and not enable_thinking %}<no-thinking>{% endif %}"
)
PROBLEM = "What is \\frac{1}{2} of {4}? {problem}"


def tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    made = character_tokenizer()
    made.chat_template = template
    return made


PHASES: tuple[Phase, ...] = ("training", "evaluation")


def seen(
    protocol: str, template: str | None, problem: str = PROBLEM, phase: Phase = "evaluation"
) -> str:
    """The prompt as text."""
    made = tokenizer(template)
    ids = PROTOCOLS[protocol].encode(made, problem, phase)
    assert all(isinstance(i, int) for i in ids)
    return made.decode(ids)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_plain_is_the_problem_and_a_line_end(template: str | None) -> None:
    assert seen("plain", template) == f"{PROBLEM}\n"


def test_boxed_without_a_chat_template() -> None:
    assert seen("boxed", None) == f"{PROBLEM}\n\n{BOX_INSTRUCTION}\n"
    assert "\\boxed{}" in BOX_INSTRUCTION


def test_boxed_with_a_chat_template_and_thinking_off() -> None:
    assert seen("boxed", TEMPLATE) == (
        f"<user>{PROBLEM}\n\n{BOX_INSTRUCTION}\n<assistant><no-thinking>"
    )


def test_a_template_without_a_thinking_mode() -> None:
    assert seen("boxed", "{{ messages[0]['content'] }}!", "1+1?").endswith("\\boxed{}.\n!")


@pytest.mark.parametrize("protocol", ["plain", "boxed"])
def test_training_and_evaluation_ask_alike(protocol: str) -> None:
    training, evaluation = (seen(protocol, TEMPLATE, phase=phase) for phase in PHASES)
    assert training == evaluation


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_official_asks_for_hashes_in_training_and_for_nothing_in_evaluation(
    template: str | None,
) -> None:
    start, end = ("<user>", "<assistant><no-thinking>") if template else ("", "")
    training, evaluation = (seen("official", template, phase=phase) for phase in PHASES)
    assert training == f"{start}{PROBLEM} {HASHES_INSTRUCTION}{end}"
    assert evaluation == f"{start}{PROBLEM}{end}"
    assert "####" in HASHES_INSTRUCTION


@pytest.mark.parametrize("name", PROTOCOLS)
def test_answers_are_found_by_a_known_rule(name: str) -> None:
    expected = "boxed-or-hashes" if name == "official" else "boxed"
    assert PROTOCOLS[name].answers == expected
    assert expected in EXTRACTORS


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_known_by_their_names(name: str) -> None:
    assert PROTOCOLS[name].name == name


def identity(
    protocol: str, template: str | None, prompts: Sequence[Sequence[int]] = ((1, 2), (3,))
) -> dict[str, Any]:
    return PROTOCOLS[protocol].identity(tokenizer(template), prompts)


def test_the_identity_changes_with_what_the_model_sees() -> None:
    seen = [identity("plain", None), identity("boxed", None)]
    seen += [identity("boxed", template) for template in (TEMPLATE, TEMPLATE + " ")]
    assert len({tuple(i.values()) for i in seen}) == 4
    assert identity("boxed", TEMPLATE) == identity("boxed", TEMPLATE)
    assert identity("official", None)["answers"] == "boxed-or-hashes"
    official = identity("official", None)
    assert official["template_sha256"] != official["training_template_sha256"]


def test_a_chat_template_that_is_not_used_is_not_part_of_the_identity() -> None:
    assert identity("plain", TEMPLATE) == identity("plain", None)
    assert identity("plain", None)["chat_template_sha256"] is None


def test_the_identity_is_of_the_tokens_that_the_model_sees() -> None:
    """A template that prints the date gives other prompts tomorrow, under the same template."""
    dated = "{{ strftime_now('%d %B %Y') }}" + TEMPLATE
    today = [PROTOCOLS["boxed"].encode(tokenizer(dated), "1+1?", "evaluation")]
    tomorrow = [[*today[0][:1], *today[0]]]
    same = identity("boxed", dated, today)
    assert identity("boxed", dated, tuple(map(tuple, today))) == same
    other = identity("boxed", dated, tomorrow)
    assert {key for key in same if same[key] != other[key]} == {"prompts_sha256"}
    joined = identity("boxed", dated, [[1], [2, 3]]), identity("boxed", dated, [[1, 2], [3]])
    assert joined[0] != joined[1]


# Tokenizers and templates that add what they should not


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_plain_prompt_ends_with_the_end_token(name: str) -> None:
    ends, starts = tokenizer(), tokenizer()
    special = [(token, ends.convert_tokens_to_ids(token)) for token in (PAD, EOS)]
    ends.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{PAD} $A {EOS} {EOS}", special_tokens=special
    )
    starts.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{PAD} $A", special_tokens=special
    )
    assert ends("1")["input_ids"][-1] == ends.eos_token_id
    for phase in PHASES:  # what a tokenizer puts before a text stays
        encoded = PROTOCOLS[name].encode(ends, PROBLEM, phase)
        assert encoded == PROTOCOLS[name].encode(starts, PROBLEM, phase)
        assert encoded[0] == ends.pad_token_id


@pytest.mark.parametrize(
    ("ending", "forced"),
    [
        ("<think>\n", True),  # whatever it is asked
        ("{% if enable_thinking is undefined or enable_thinking %}<think>{% endif %}", False),
        ("<think>\n\n</think>\n\n", False),
        ("<|START_THINKING|>", True),
        ("[THINK]", True),
        ("I think", False),
        ("", False),
    ],
)
def test_a_template_that_thinks_although_asked_not_to(ending: str, forced: bool) -> None:
    template = TEMPLATE + ending
    assert PROTOCOLS["boxed"].forces_thinking(tokenizer(template)) is forced
    assert identity("boxed", template)["thinking"] == ("forced on" if forced else "off")
    assert not PROTOCOLS["plain"].forces_thinking(tokenizer(template))
    assert identity("plain", template)["thinking"] is None
    assert identity("boxed", None)["thinking"] is None
