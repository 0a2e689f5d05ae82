"""A hub that takes uploads, in the place of the real one."""

import pytest

from tests.evals.sharing.uploads import TOKEN, FakeHub


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeHub]:
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(FakeHub, "uploads", [], raising=False)
    return FakeHub
