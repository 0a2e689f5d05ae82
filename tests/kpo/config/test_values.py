"""Conditions that the sections put on their values."""

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from kpo.config.values import must, one_of


def test_what_meets_the_condition_stays() -> None:
    even = TypeAdapter(Annotated[int, must(lambda n: n % 2 == 0, "must be even")])
    assert even.validate_python(4) == 4
    with pytest.raises(ValidationError, match="Value error, must be even "):
        even.validate_python(3)


def test_one_of_some_names() -> None:
    named = TypeAdapter(Annotated[str, one_of(("plain", "boxed"))])
    assert named.validate_python("boxed") == "boxed"
    with pytest.raises(ValidationError, match="Value error, must be one of plain, boxed "):
        named.validate_python("box")
