"""A hub that is there, and one that is not."""

from typing import Any

import pytest

from kpo.model.architecture import hub_answers


@pytest.mark.parametrize("error", [None, OSError("no route"), RuntimeError("a client's own")])
def test_one_request_decides(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    asked = []

    class Session:
        def head(self, url: str, **options: Any) -> None:
            asked.append((url, options))
            if error:
                raise error

    monkeypatch.setattr("kpo.model.architecture.get_session", Session)
    assert hub_answers() == (error is None)
    ((_, options),) = asked
    assert options["timeout"] <= 5
