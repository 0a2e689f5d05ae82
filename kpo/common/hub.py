"""Folders for the Hugging Face hub: their card's header, and the upload.

A token opens the hub to this process alone: it is in no file of the folder, which is looked through
before it is handed on, and in no message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml

from kpo.common.cli import UserError
from kpo.common.files import atomic_folder

CARD = "README.md"
MADE_BY = "kpo-suite"
"""A tag of every card, by which a folder that was made here is known again."""
_SECRET = re.compile("TOKEN|SECRET|PASSWORD|API_?KEY", re.IGNORECASE)
_LEAST_SECRET = 12
"""Letters; a shorter value of such a variable is a switch, or stands in texts by chance."""


def front_matter(**facts: Any) -> str:
    """The YAML header of a card; what is None or empty is left out."""
    tags = [MADE_BY, *facts.pop("tags", [])]
    told = {"tags": tags, **{name: value for name, value in facts.items() if value}}
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True)}---\n"


@contextmanager
def card_folder(out: Path) -> Iterator[Path]:
    """A folder that takes the place of `out` when it is whole and no secret is in it.

    Raises UserError where `out` holds something that was not made here, or a file holds a secret.
    """
    card = out / CARD
    ours = card.is_file() and MADE_BY in card.read_text(encoding="utf-8", errors="replace")
    if out.exists() and not ours:
        raise UserError(f"{out} is there, and was not made by this command: name another folder")
    with atomic_folder(out, CARD) as folder:
        yield folder
        check_secrets(folder)


def check_secrets(folder: Path) -> None:
    """Raise UserError if a text in the folder holds a secret of this environment."""
    from huggingface_hub import get_token  # noqa: PLC0415 - slow to import

    named = {name: value for name, value in os.environ.items() if _SECRET.search(name)}
    named["the token for the hub"] = get_token() or ""
    secrets = {name: v.encode() for name, v in named.items() if len(v) >= _LEAST_SECRET}
    for path in folder.rglob("*"):
        if not path.is_file() or path.suffix == ".safetensors":
            continue
        content = path.read_bytes()
        for name, secret in secrets.items():
            if secret in content:
                raise UserError(f"{path.relative_to(folder)} would hold {name}: nothing is written")


class Hub:
    """Where folders are uploaded to: a repository of data (`dataset`) or of a model."""

    def __init__(self, repo_id: str, kind: Literal["dataset", "model"]) -> None:
        """Raises UserError for a name that none can have, or without a token."""
        from huggingface_hub import get_token  # noqa: PLC0415

        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo_id, re.ASCII):
            raise UserError(f"--push {repo_id}: must be owner/name, as on the hub")
        token = get_token()
        if not token:
            raise UserError("--push: there is no token for the hub: `hf auth login`, or HF_TOKEN")
        self.repo_id, self.kind, self._token = repo_id, kind, token

    def __repr__(self) -> str:
        return f"Hub({self.repo_id!r}, {self.kind!r})"

    def upload(self, folder: Path) -> str:
        """Make the repository if there is none, and upload a folder; its address.

        Raises UserError for whatever the hub refuses.
        """
        from huggingface_hub import HfApi  # noqa: PLC0415

        place: Mapping[str, Any] = {"repo_id": self.repo_id, "repo_type": self.kind}
        try:
            api = HfApi(token=self._token)
            address = api.create_repo(**place, exist_ok=True)
            api.upload_folder(**place, folder_path=folder, commit_message="Upload of kpo-suite")
        except Exception as error:  # its client's errors have no class in common
            reason = str(error).partition("\n")[0].replace(self._token, "(token)")
            raise UserError(f"--push {self.repo_id}: {reason}") from None
        return str(address)
