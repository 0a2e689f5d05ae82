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


def test_a_check_that_never_fails_may_go() -> None:
    loop = "for a, b in zip(x, y, strict=True):"
    for other in ("strict=None):", "strict=False):", "):"):
        assert report.only_strict((f"- {loop}", f"+ {loop.replace('strict=True):', other)}"))
    assert not report.only_strict((f"- {loop}", f"+ {loop.replace('x, ', '')}"))
    assert not report.only_strict(("- f(x, y)", "+ f(x, )"))


def test_every_equivalent_fault_has_a_reason(tmp_path: Path) -> None:
    assert report.equivalent()
    path = tmp_path / "list.txt"
    path.write_text("# words\n\nkpo.f\n- a\n+ b\n")
    with pytest.raises(ValueError, match=r"kpo\.f: a function, its changes"):
        report.equivalent(path)


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
    monkeypatch.setattr(report, "equivalent", lambda: {("kpo.a.g", ("- a", "+ b")): "why: so"})
    assert report.main() == code
    out = capsys.readouterr().out
    assert "survived: kpo.a.x_h__mutmut_1\nkpo.a.h\n- a\n+ b\n" in out
    assert out.splitlines()[-1].split()[:4] == ["all", str(noticed), "1", "1"]
