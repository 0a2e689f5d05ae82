"""Terms that are too large to compare, and short cuts that must not change a verdict."""

from __future__ import annotations

from typing import Any

import pytest

from kpo.evals.grading.equivalence import TooLargeError, judge


@pytest.mark.parametrize(
    "giant",
    [
        "9^{9^{9}}",
        "2^{-9^{9^{9}}}",
        "(10^{9})!",
        "((9!)!)!",
        r"\binom{10^{9}}{10^{8}}",
        "x^{9^{9^9}}",
    ],
)
def test_giants_are_refused_not_evaluated(giant: str) -> None:
    with pytest.raises(TooLargeError):
        judge("5", giant)
    assert judge(giant, giant)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2^{1009}", r"2 \cdot 2^{1008}"),
        (r"\frac{100!}{2^{50}}", r"100! \cdot 2^{-50}"),
        (r"\sqrt{\sqrt{\sqrt{\sqrt{256}}}}", r"\sqrt{2}"),
        ("10^{1000}", "10^{999} \\cdot 10"),
        (r"\binom{40}{20}", "137846528820"),
    ],
)
def test_large_is_not_giant(gold: str, answer: str) -> None:
    assert judge(gold, answer)


@pytest.mark.parametrize(
    "other", ["[-2,7]", "(1,2) \\cup (3,4)", "(1,2,3)", r"\begin{pmatrix}1\end{pmatrix}"]
)
def test_a_number_is_not_compared_with_a_set(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """math-verify would need a tenth of a second to say no."""
    compared: list[tuple[Any, Any]] = []
    monkeypatch.setattr("kpo.evals.grading.terms.verify", lambda g, a, **_: compared.append((g, a)))
    assert not judge("4", other)
    assert all(isinstance(gold, str) or isinstance(answer, str) for gold, answer in compared)


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("p - q", "q - p", False),
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        (r"\sin^2 x + \cos^2 x", "1", True),
        (r"\frac{x^2-1}{x-1}", "x+1", True),
        (r"\frac{20000}{\pi}", r"\frac{20000}{3}", False),
        ("x^2", "x^3", False),
        ("f(x)+1", "f(x)+2", False),
        (r"\text{east}", "east", True),
        (r"\text{east}", r"\text{west}", False),
        ("0.333333", r"\frac{1}{3}", True),
        (r"8 \%", "8", True),
        (r"6 - 5i", r"-5i + 6", True),
        (r"6 - 5i", r"6 + 5i", False),
        ("ab", "ba", True),
        (r"\sqrt{2}", "1.41421356", True),
    ],
)
def test_the_short_cut_for_what_differs_is_math_verifys_verdict(
    gold: str, answer: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judge(gold, answer) == same
    monkeypatch.setattr("kpo.evals.grading.terms._decided", lambda *_: None)
    assert judge(gold, answer) == same
