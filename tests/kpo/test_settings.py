"""What settings may be, against pydantic's word for it; other annotations are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, Literal

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from kpo.settings import Settings, Within, check_settings

ANNOTATIONS: dict[str, tuple[Any, Any]] = {
    "number": (float, float),
    "share": (Annotated[float, Within(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]),
    "some": (
        Annotated[float, Within(gt=0)] | None,
        Annotated[float, Field(gt=0)] | None,
    ),
    "count": (Annotated[int, Within(ge=1, le=9)], Annotated[int, Field(ge=1, le=9)]),
    "word": (Literal["known", "steady"], Literal["known", "steady"]),
    "over": (Literal["tokens"] | int, Literal["tokens"] | int),
    "flag": (bool, bool),
    "text": (str, str),
}


@dataclass(frozen=True, kw_only=True)
class All:
    number: Any = 0.0
    share: Any = 0.0
    some: Any = None
    count: Any = 1
    word: Any = "known"
    over: Any = 1
    flag: Any = False
    text: Any = ""


All.__annotations__.update({name: ours for name, (ours, _) in ANNOTATIONS.items()})
VALUES = st.one_of(
    st.sampled_from([-1, 0, 1, 9, 10, -1.0, 0.0, 0.5, 1.0, 1e300, True, False, None]),
    st.sampled_from(["known", "tokens", "1", "", [0.5], {"a": 1}]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
)


@given(name=st.sampled_from(sorted(ANNOTATIONS)), value=VALUES)
def test_the_same_is_refused_as_by_pydantic(name: str, value: object) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ANNOTATIONS[name][1], config=ConfigDict(strict=True))
    try:
        adapter.validate_python(value)
    except ValidationError:
        with pytest.raises(ValueError, match=f"^{name} is .*, but must be "):
            check_settings(All, {name: value})
    else:
        check_settings(All, {name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["number", "share", "some"])
def test_numbers_are_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*, but must be a finite number"):
        check_settings(All, {name: value})


@pytest.mark.parametrize(
    "bounds", [Within(gt=0, le=1), Field(gt=0, le=1), annotated_types.Interval(gt=0, le=1)]
)
def test_bounds_of_other_libraries_count(bounds: Any) -> None:
    made = make_dataclass("Own", [("tau", Annotated[float, bounds])])
    check_settings(made, {"tau": 1})
    for value, words in ((0.0, "greater than 0"), (1.5, "less than or equal to 1")):
        with pytest.raises(ValueError, match=f"tau is {value}, but must be {words}"):
            check_settings(made, {"tau": value})


@pytest.mark.parametrize("annotation", [list[float], Any, "float | list[int]", complex])
def test_what_cannot_be_checked_is_refused(annotation: Any) -> None:
    made = make_dataclass("Own", [("tau", annotation)])
    with pytest.raises(TypeError, match="a setting is annotated with"):
        check_settings(made, {"tau": [1.0]})


def test_settings_are_checked_wherever_they_are_made() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(Settings):
        tau: Annotated[float, Within(gt=0)] = 0.5

    Own(tau=1)
    with pytest.raises(ValueError, match="tau is -1, but must be greater than 0"):
        Own(tau=-1)
    with pytest.raises(ValueError, match=r"no setting 'tua'; there is tau"):
        check_settings(Own, {"tua": 1})
