"""The report on planted faults: what counts as noticed, and that it fails where too few are."""

import json
from pathlib import Path

import pytest

from tests.mutants import report


def test_a_fault_is_a_function_and_its_lines() -> None:
    assert report.function("kpo.kalman.x__gains__mutmut_12") == "kpo.kalman._gains"
    assert report.function("kpo.model.head.xǁRuleǁapply___mutmut_2") == "kpo.model.head.Rule.apply_"
    diff = "--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n def f():\n-    return --x\n+    return ++x"
    assert report.changes(diff) == ("- return --x", "+ return ++x")


def changed(before: str, old: str, new: str) -> bool:
    """Whether a function is as good after a replacement, which is one of a text that is there."""
    assert before.count(old) == 1
    return report.harmless(before, before.replace(old, new))


@pytest.mark.parametrize("other", ["strict=None)", "strict=False)", ")"])
def test_a_check_that_never_fails_may_go(other: str) -> None:
    assert changed("for a, b in zip(x, y, strict=True):\n    f(a)", "strict=True)", other)


@pytest.mark.parametrize(("old", "new"), [("y, ", ""), ("fit(x, strict=True)", "fit(x)")])
def test_no_other_argument_may_go(old: str, new: str) -> None:
    loop = "for a, b in zip(x, y, strict=True):\n    fit(x, strict=True)"
    assert not changed(loop, old, new)


MESSAGE = """
def f(x):
    seen("of no message", help="a file, read")
    warnings.warn(f"{x} may be" " too small", stacklevel=2)
    if x:
        raise ValueError("must be positive")
    raise KeyError(f"{x} must be one of" f" {', '.join(KNOWN)}, its" " keys")
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("must be positive", "MUST BE POSITIVE"),
        ("must be positive", "XXmust be positiveXX"),
        (" keys", "XX keysXX"),
        (" too small", "XX too smallXX"),
        ("a file, read", "A FILE, READ"),
    ],
)
def test_letters_of_a_message_may_change(old: str, new: str) -> None:
    assert changed(MESSAGE, old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"must be positive"', "None"),
        ("positive", "negative"),
        ("', '.join", "'XX, XX'.join"),
        ("join(KNOWN)", "join(None)"),
        ("of no message", "OF NO MESSAGE"),
        ("{x} may be", "{None} may be"),
        ("stacklevel=2", "stacklevel=None"),
        ('"a file, read"', "None"),
        ("if x", "if not x"),
        ("KeyError(f", "KeyError(None, f"),
    ],
)
def test_values_of_a_message_and_what_is_no_message_may_not(old: str, new: str) -> None:
    assert not changed(MESSAGE, old, new)


def test_every_equivalent_fault_has_a_reason(tmp_path: Path) -> None:
    assert report.equivalent()
    path = tmp_path / "list.txt"
    path.write_text("# words\n\nkpo.f\n- a\n+ b\n")
    with pytest.raises(ValueError, match=r"kpo\.f: a function, its changes"):
        report.equivalent(path)


def test_a_function_is_found_with_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        "def x_f__mutmut_orig(a=1):\n    return a\n"
        "class C:\n    def x_g__mutmut_orig(self):\n        pass\n"
        "def x_f__mutmut_1(a=2):\n    return a\n"
    )
    before, after = report.versions("kpo.a.x_f__mutmut_1", path)
    assert (before, after.replace("2", "1")) == ("def function(a=1):\n    return a", before)


@pytest.mark.parametrize(("noticed", "code"), [(19, 0), (18, 1)])
def test_it_fails_where_too_few_are_noticed(
    noticed: int,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One of two survivors is equivalent; another mutant was not run."""
    codes: dict[str, int | None] = {f"kpo.a.x_f__mutmut_{i}": 1 for i in range(noticed)}
    codes |= {"kpo.a.x_g__mutmut_1": 0, "kpo.a.x_h__mutmut_1": 0, "kpo.a.x_h__mutmut_2": None}
    (tmp_path / "kpo").mkdir()
    (tmp_path / "kpo/a.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(report, "get_diff_for_mutant", lambda name, path: "---\n+++\n- a\n+ b")
    monkeypatch.setattr(report, "versions", lambda name, path: ["f(a)", "f(b)"])
    monkeypatch.setattr(report, "equivalent", lambda: {("kpo.a.g", ("- a", "+ b")): "why: so"})
    assert report.main() == code
    out = capsys.readouterr().out
    assert "survived: kpo.a.x_h__mutmut_1\nkpo.a.h\n- a\n+ b\n" in out
    assert out.splitlines()[-1].split()[:4] == ["all", str(noticed), "1", "1"]
