"""Exact checkpoints: written whole or not at all, restored to the last bit, without pickle.

    step-000010/
        checkpoint.json           step, settings, sha256 of every other file
        tensors/*.safetensors     weights and optimizer state, a shard a rank
        state.json                the trainer's state,
        state.safetensors         and the tensors in it, as waiting rollouts

A checkpoint is written under a temporary name, synced to the disk and renamed. Shards are
torch.distributed.checkpoint's, so that another number of ranks can read them.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from kpo.common.cli import UserError, warn
from kpo.common.files import put_in_place, sha256_file, take_back, write_json
from kpo.common.values import read_values, write_values
from kpo.distributed.ranks import ALONE, Ranks

CONTENT, STATE, TENSORS = "checkpoint.json", "state", "tensors"
FORMAT = 3
"""Of a checkpoint's files; one of another is not gone on from."""
KEEP = 2
"""How many stay: one is left where the newest is damaged."""
FILE_BYTES = 2 << 30
"""Tensors of about this size go into one file, as each file is put together in memory."""
_ABSENT = object()
"""Stands for a key that is not there, as null is a value."""


class Checkpoints:
    """The checkpoints of one run, the newest KEEP of them; every method is collective.

    Args:
        folder: where they lie, `step-000010` each; nothing else may lie there.
        settings: JSON, everything that the run depends on; a run with others is refused.
        ranks: who writes together.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], ranks: Ranks = ALONE) -> None:
        self.folder, self.ranks = folder, ranks
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Any) -> None:
        """Write the checkpoint of a step, then remove those beyond KEEP.

        Args:
            step: what it is named by.
            tensors: DTensors, or tensors that are equal on every rank.
            state: what `write_values` takes, tensors of any shape among it; rank 0's is written.
        """
        final = self.folder / f"step-{step:06d}"
        partial = final.with_name(f"{final.name}.tmp")
        if self.ranks.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / TENSORS).mkdir(parents=True)
            write_values(partial / STATE, state)
        self.ranks.wait()
        _write_tensors(partial / TENSORS, tensors)
        self.ranks.wait()
        files = (path for path in partial.rglob("*") if path.is_file())
        mine = self.ranks.share(sorted(str(path.relative_to(partial)) for path in files))
        for name in mine:
            _sync(partial / name)
        hashes = self.ranks.concatenate([(name, sha256_file(partial / name)) for name in mine])
        if self.ranks.is_main:
            content = {"format": FORMAT, "step": step, "settings": self.settings}
            write_json(partial / CONTENT, {**content, "files": dict(hashes)})
            _sync(partial / TENSORS)
            _sync(partial)
            put_in_place(partial, final)
            _sync(self.folder)
            for old in self._complete()[:-KEEP]:
                # Half removed, it must not look like a whole one.
                shutil.rmtree(old.rename(old.with_name(f"{old.name}.tmp")))
        self.ranks.wait()

    def latest(self) -> Path | None:
        """The newest checkpoint; what an interrupted write left behind is removed."""
        if self.ranks.is_main:
            for leftover in self.folder.glob("*.tmp"):
                shutil.rmtree(leftover)
            for aside in self.folder.glob(".step-*"):
                take_back(self.folder / aside.name[1:].partition(".")[0])
        self.ranks.wait()
        return next(reversed(self._complete()), None)

    def restore(self, tensors: Mapping[str, Tensor]) -> tuple[int, Any] | None:
        """Load the newest intact checkpoint into `tensors`, in place; None where there is none.

        Returns its step and state. A damaged one is renamed to `*.damaged`, with a warning, and the
        one before is taken.

        Raises UserError for a checkpoint of other settings, of other tensors, or of another
        version of this code.
        """
        while (path := self.latest()) is not None:
            if content := _content(path):
                self._check(path, content)
            faults = list(filter(None, self.ranks.gather(self._fault(path, content))))
            if not faults:
                _read_tensors(path / TENSORS, tensors)
                return content["step"], read_values(path / STATE)
            if self.ranks.is_main:
                aside = path.with_name(f"{path.name}.damaged")
                warn(
                    f"the checkpoint {path} is damaged ({'; '.join(faults)}); it is now"
                    f" {aside.name}, and the one before is taken"
                )
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
            self.ranks.wait()
        return None

    def _complete(self) -> list[Path]:
        """Checkpoints that were written to the end, by step."""
        return sorted(self.folder.glob("step-*[0-9]"), key=lambda path: (len(path.name), path.name))

    def _check(self, path: Path, content: dict[str, Any]) -> None:
        """Raise UserError unless format and settings, each named that differs, are equal."""
        if content.get("format") != FORMAT:
            raise UserError(
                f"{path}: this checkpoint was written by another version of this code; go on with"
                " that version, or remove the folder to start anew"
            )
        if lines := differences(content["settings"], self.settings):
            raise UserError(
                f"{self.folder}: the checkpoint {path.name} is of a run with other settings:\n  "
                + "\n  ".join(lines)
                + "\ngo back to its settings to go on from it, or remove the folder to start anew"
            )

    def _fault(self, path: Path, content: dict[str, Any]) -> str | None:
        """What is wrong with this rank's share of a checkpoint's files."""
        if not content:
            return f"{CONTENT} is missing or unreadable"
        for name in self.ranks.share(sorted(content["files"])):
            if not (path / name).is_file():
                return f"{name} is missing"
            if sha256_file(path / name) != content["files"][name]:
                return f"{name} does not have its sha256"
        return None


def differences(was: Any, now: Any, key: str = "") -> list[str]:
    """A line for every key that differs between two JSON values, by its dotted path."""
    if isinstance(was, dict) and isinstance(now, dict):
        path = f"{key}." if key else ""
        return [
            line
            for name in sorted(was.keys() | now.keys())
            for line in differences(was.get(name, _ABSENT), now.get(name, _ABSENT), path + name)
        ]
    before, after = (
        "absent" if value is _ABSENT else json.dumps(value, sort_keys=True) for value in (was, now)
    )
    return [] if before == after else [f"{key} was {before} and is {after}"]


def _write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write this rank's shards, in files of about FILE_BYTES of whole tensors."""
    file_of, total = {}, 0
    for name, tensor in tensors.items():
        file_of[name] = 1 + total // FILE_BYTES
        total += tensor.numel() * tensor.element_size()
    writer = HuggingFaceStorageWriter(
        str(folder), fqn_to_index_mapping=file_of, save_distributed=True
    )
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with warnings.catch_warnings(action="ignore"):  # one process is fine
        dcp_save(whole, storage_writer=writer)


def _read_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Load every rank's part in place. Raises UserError unless all the tensors fit."""
    reader = HuggingFaceStorageReader(str(folder))
    held: dict[str, Any] = reader.read_metadata().state_dict_metadata
    theirs = {name: f"{t.properties.dtype} {list(t.size)}" for name, t in held.items()}
    own = {name: f"{t.dtype} {list(t.shape)}" for name, t in tensors.items()}
    if lines := differences(theirs, own):
        raise UserError(f"{folder}: these are other tensors:\n  " + "\n  ".join(lines))
    with warnings.catch_warnings(action="ignore"):  # one process is fine
        dcp_load(dict(tensors), storage_reader=reader)


def _content(path: Path) -> dict[str, Any]:
    """What checkpoint.json says, nothing where it cannot be read."""
    try:
        content: dict[str, Any] = json.loads((path / CONTENT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if {"step", "settings", "files"} <= content.keys() else {}


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
