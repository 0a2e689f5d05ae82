"""The character tokenizer: one token a character, and text comes back as it went in."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from kpo.tasks.tokenizer import CHARACTERS, EOS, PAD, character_tokenizer

TOKENIZER = character_tokenizer()
seeded = settings(derandomize=True, deadline=None, max_examples=100)
TEXTS = [
    "81-9=72\n72+4=76\n\\boxed{77}",
    " a  b \n\n c ,. ' !",
    "it's , isn 't . ?",
    "\\\\{}{}\\n<pad",
    string.printable[:95],
]


def test_the_vocabulary_is_small_and_covers_printable_ascii() -> None:
    assert len(TOKENIZER) < 100
    assert len(set(CHARACTERS)) == len(CHARACTERS) == len(TOKENIZER) - 2
    assert set(CHARACTERS) == {chr(code) for code in range(32, 127)} | {"\n"}


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back(text: str) -> None:
    ids = TOKENIZER(text)["input_ids"]
    assert len(ids) == len(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.batch_decode([ids, ids[:3]], skip_special_tokens=True) == [text, text[:3]]


@seeded
@given(text=st.text(alphabet=CHARACTERS, max_size=60))
def test_any_text_comes_back(text: str) -> None:
    ids = [TOKENIZER.convert_tokens_to_ids(character) for character in text]
    assert TOKENIZER.decode(ids) == text
    if EOS not in text and PAD not in text:
        assert TOKENIZER(text)["input_ids"] == ids


def test_the_end_and_the_padding_are_left_out_of_texts() -> None:
    ids = TOKENIZER("7\n")["input_ids"] + [TOKENIZER.eos_token_id, TOKENIZER.pad_token_id]
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "7\n"


def test_it_is_saved_and_read_back_as_it_was(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert (read.eos_token, read.pad_token) == (EOS, PAD)
    assert (read.eos_token_id, read.pad_token_id) == (1, 0)
    assert len(read) == len(TOKENIZER)
    assert read.bos_token_id is None
    for text in TEXTS:
        assert read(text)["input_ids"] == TOKENIZER(text)["input_ids"]
        assert read.decode(read(text)["input_ids"]) == text
