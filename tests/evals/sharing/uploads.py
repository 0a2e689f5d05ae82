"""A hub that remembers what it was given."""

from pathlib import Path
from typing import Any

TOKEN = "hf_" + "Fake" * 9


class FakeHub:
    """What stands for huggingface_hub.HfApi."""

    uploads: list[dict[str, Any]]
    error: Exception | None = None

    def __init__(self, token: str) -> None:
        assert token == TOKEN

    def create_repo(self, repo_id: str, **_: Any) -> str:
        return f"https://hub/{repo_id}"

    def upload_folder(self, *, folder_path: Path, **more: Any) -> None:
        if self.error:
            raise self.error
        files = {path.name: path.read_bytes() for path in folder_path.iterdir()}
        self.uploads.append({**more, "files": files})
