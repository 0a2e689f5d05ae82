"""Where stored results lie: a folder here, a web address, or a data set on the Hugging Face hub."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from kpo.common.cli import UserError
from kpo.evals.sharing.stored import FILES, TABLE

TIMEOUT = 30
"""Seconds without an answer."""
_HUB_ID = re.compile(r"(?!.*\.csv)[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", re.ASCII)


@contextmanager
def at(place: str) -> Iterator[tuple[Path, str]]:
    """A folder with the files of results, as long as it is needed, and what to call it.

    `place` is a folder or the table in it, the address of such a folder, or `owner/name` of a data
    set on the hub, with `@` and a revision where it is not the newest. Raises UserError where
    nothing is found.
    """
    path = Path(place)
    if path.exists():
        yield (path.parent if path.is_file() else path), place
    elif re.match(r"https?://", place):
        with TemporaryDirectory() as folder:
            _download(place.removesuffix(TABLE).rstrip("/"), Path(folder))
            yield Path(folder), place
    elif _HUB_ID.fullmatch(place):
        yield _from_hub(*place.partition("@")[::2])
    else:
        raise UserError(
            f"{place}: neither a folder or table that is here, nor an address (https://...), nor a"
            " data set on the hub (owner/name)"
        )


def _download(address: str, folder: Path) -> None:
    """Those files of a set of results that lie there; the table must."""
    for name in FILES:
        try:
            with urllib.request.urlopen(f"{address}/{name}", timeout=TIMEOUT) as answer:
                (folder / name).write_bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code != 404 or name == TABLE:
                raise UserError(f"{address}/{name}: {error.code} {error.reason}") from None
        except (OSError, ValueError) as error:  # no answer, half of one, no address
            raise UserError(f"{address}/{name} cannot be had: {error}") from None


def _from_hub(name: str, revision: str) -> tuple[Path, str]:
    """The hub's copy, and its name with the commit that it is."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow to import

    try:
        found = Path(
            snapshot_download(
                name, repo_type="dataset", revision=revision or None, allow_patterns=[*FILES]
            )
        )
    except Exception as error:  # the hub's client has errors without a class in common
        reason = str(error).partition("\n")[0]
        raise UserError(f"{name}: no such folder here, nor such a data set: {reason}") from None
    return found, f"{name}@{found.name[:12]}"
