"""The kinds of values that settings have, with their bounds.

A message that begins with "must" goes on from "<key> is <value>, but".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Engine = Literal["transformers", "vllm"]


class Section(BaseModel):
    """A closed, immutable part of the experiment file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def _faults(self) -> Iterator[str]:
        """Sentences about settings that do not go together; the first is raised."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        return self


def must(met: Callable[[Any], object], message: str) -> AfterValidator:
    """Refuses a value that does not meet the condition; the message begins with "must"."""

    def check(value: Any) -> Any:
        if not met(value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def one_of(names: Collection[str]) -> AfterValidator:
    """For a string that must be one of the names."""
    return must(names.__contains__, f"must be one of {', '.join(names)}")


def _distinct(values: list[Any]) -> list[Any]:
    if repeated := [value for value, count in Counter(values).items() if count > 1]:
        raise ValueError(f"must not repeat a value, as it does {repeated[0]!r}")
    return values


PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[
    list[Text],
    Field(min_length=1),
    BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
]
"""A name, or a list of them."""
Name = Annotated[
    str,
    must(
        re.compile(r"[a-z0-9][a-z0-9_.-]{,63}").fullmatch,
        "must have at most 64 characters, all of them lower-case letters, digits, '_', '-' or '.',"
        " and begin with a letter or digit",
    ),
]
ExperimentName = Annotated[
    Name,
    must(
        lambda name: name not in ("reported", "reference") and not name.startswith("table1."),
        "must not be the name of something else in results/",
    ),
]
MethodName = Annotated[
    Name,
    must(
        lambda name: name != "base" and not re.search(r"-s\d+$", name),
        "must neither be base nor end in -s<number>, which name evaluated models",
    ),
]
Distinct = AfterValidator(_distinct)
Gpus = Annotated[int, Field(ge=0, le=8, description="of one machine; 0: on the CPU")]
