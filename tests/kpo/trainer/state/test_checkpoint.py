"""Checkpoints are exact, whole or absent, and refuse what they cannot go on from."""

from __future__ import annotations

import math
import pickletools
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kpo.common.cli import UserError
from kpo.distributed.ranks import Ranks
from kpo.trainer.state import checkpoint
from kpo.trainer.state.checkpoint import Checkpoints, differences
from tests.kpo.processes import SERVER, on_ranks
from tests.kpo.trainer.checkpointed import Run

TENSORS = {
    "float32": torch.tensor([[1.5, math.nan], [-0.0, math.inf]]),
    "bfloat16": torch.arange(6, dtype=torch.bfloat16).view(2, 3).t(),
    "int64": torch.tensor([2**62 + 1, -1]),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3.0),
    "empty": torch.zeros(0, 3),
}


def same(a: Tensor, b: Tensor) -> bool:
    """Equal type, shape and bits; NaN equals itself."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    bits = [t.contiguous().flatten().view(torch.uint8) for t in (a, b)]
    return torch.equal(*bits)


def trained(folder: Path, saved_at: tuple[int, ...]) -> Run:
    """A run that saved after some steps."""
    run = Run(folder)
    for step in saved_at:
        run.train(step - run.step)
        run.save()
    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_tensors_state_and_extra_come_back_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "FILE_BYTES", 16)  # more than one file
    state = {"float": 0.1 + 0.2, "nan": math.nan, "list": [1, None, "é"]}
    extra: dict[str, Any] = {"rollouts": [torch.arange(5)], "none": torch.zeros(0, 2), **TENSORS}
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save(7, TENSORS, {"plain": state, "extra": extra})
    assert len(names(tmp_path / "step-000007" / "tensors")) > 2
    loaded = {name: torch.zeros_like(tensor) for name, tensor in TENSORS.items()}
    restored = checkpoints.restore(loaded)
    assert restored is not None
    assert all(same(loaded[name], TENSORS[name]) for name in TENSORS)
    step, found = restored
    assert (step, repr(found["plain"])) == (7, repr(state))
    (rollouts,) = found["extra"].pop("rollouts")
    assert same(rollouts, torch.arange(5))
    assert all(same(tensor, extra[name]) for name, tensor in found["extra"].items())


@pytest.mark.parametrize("saved_at", [0, 3, 9])  # before the first step, in warm-up, after it
def test_a_run_goes_on_as_if_never_stopped(tmp_path: Path, saved_at: int) -> None:
    trained(tmp_path, (saved_at,))
    again = Run(tmp_path)
    again.train(2)  # whatever has happened before, restoring undoes it
    assert again.restore() == (saved_at, None)
    again.train(12 - saved_at)
    whole = Run(tmp_path)
    whole.train(12)
    assert again.hash() == whole.hash()


def test_where_there_is_no_checkpoint_nothing_is_restored(tmp_path: Path) -> None:
    run = Run(tmp_path / "none")
    assert run.checkpoints.latest() is None
    assert run.restore() is None


def test_the_newest_two_stay(tmp_path: Path) -> None:
    run = trained(tmp_path, (2, 4, 6, 11))
    assert names(tmp_path) == ["step-000006", "step-000011"]
    assert run.checkpoints.latest() == tmp_path / "step-000011"


def test_leftovers_of_an_interrupted_write_are_removed(tmp_path: Path) -> None:
    run = trained(tmp_path, (1,))
    (tmp_path / "step-000002.tmp").mkdir()
    (tmp_path / "step-000002.tmp" / "half").touch()
    assert run.checkpoints.latest() == tmp_path / "step-000001"
    assert names(tmp_path) == ["step-000001"]


def test_a_step_can_be_saved_again(tmp_path: Path) -> None:
    run = trained(tmp_path, (1, 2, 2))
    assert names(tmp_path) == ["step-000001", "step-000002"]
    assert Run(tmp_path).restore() == (2, None)
    assert run.step == 2


def test_there_is_no_pickle(tmp_path: Path) -> None:
    run = trained(tmp_path, ())
    run.save(torch.arange(3))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        assert not path.read_bytes().startswith((b"\x80", b"PK"))  # pickle, torch.save's zip
        with pytest.raises(ValueError):
            pickletools.dis(path.read_bytes(), out=open("/dev/null", "w"))  # noqa: SIM115, PTH123


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    settings = {"train": {"lr": 0.1, "betas": (0.9, 0.99)}, "seed": 0, "gone": None}
    Checkpoints(tmp_path, settings).save(1, {}, {})
    other = {"train": {"lr": 0.2, "betas": (0.9, 0.99)}, "seed": 0, "new": [1]}
    with pytest.raises(UserError) as error:
        Checkpoints(tmp_path, other).restore({})
    message = str(error.value)
    assert "train.lr was 0.1 and is 0.2" in message
    assert "gone was null and is absent" in message
    assert "new was absent and is [1]" in message
    assert "seed" not in message
    assert "betas" not in message
    assert str(tmp_path) in message
    assert "remove the folder to start anew" in message
    assert names(tmp_path) == ["step-000001"]


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, (1,))
    path = tmp_path / "step-000001" / "checkpoint.json"
    path.write_text(path.read_text().replace(f'"format": {checkpoint.FORMAT},', ""))
    with pytest.raises(UserError, match=r"step-000001: .* written by another version"):
        Run(tmp_path).restore()
    assert names(tmp_path) == ["step-000001"]


def test_a_value_and_a_mapping_differ() -> None:
    assert differences({"a": {"b": 1}}, {"a": 1}) == ['a was {"b": 1} and is 1']
    assert differences({"a": math.nan}, {"a": math.nan}) == []


def test_other_tensors_are_refused_and_none_is_loaded(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {}).save(1, {"a": torch.ones(2), "b": torch.ones(3)}, {})
    own = {"a": torch.zeros(2), "b": torch.zeros(3, dtype=torch.float64), "c": torch.zeros(())}
    with pytest.raises(UserError, match=r"b was .*32 \[3\].*64 \[3\](.|\n)*c was absent"):
        Checkpoints(tmp_path, {}).restore(own)
    assert not own["a"].any()


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, shorten, flip])
@pytest.mark.parametrize("file", ["tensors/*.safetensors", "state.json", "state.safetensors"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, damage: Any
) -> None:
    trained(tmp_path, (3, 5))
    (path,) = (tmp_path / "step-000005").glob(file)
    damage(path)
    run = Run(tmp_path)
    assert run.restore() == (3, None)
    warning = capsys.readouterr().err
    assert "step-000005 is damaged" in warning
    assert path.name in warning
    run.train(2)
    run.save()
    assert names(tmp_path) == ["step-000003", "step-000005", "step-000005.damaged"]
    whole = Run(tmp_path)
    whole.train(5)
    assert run.hash() == whole.hash()


@pytest.mark.parametrize("damage", [Path.unlink, shorten])
def test_without_its_list_of_files_a_checkpoint_is_damaged(tmp_path: Path, damage: Any) -> None:
    trained(tmp_path, (1,))
    path = tmp_path / "step-000001" / "checkpoint.json"
    path.write_text(path.read_text().rstrip())
    damage(path)
    assert Run(tmp_path).restore() is None
    assert names(tmp_path) == ["step-000001.damaged"]


def save_for_ever(folder: Path) -> None:
    run = Run(folder)
    run.restore()
    while True:
        run.train(1)
        run.save()


def newest(folder: Path) -> int:
    return max((int(path.name[5:]) for path in folder.glob("step-" + "[0-9]" * 6)), default=0)


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_what_can_be_restored(tmp_path: Path) -> None:
    folder, rng = tmp_path / "killed", random.Random(0)
    found, interrupted = {0: ""}, 0
    for _ in range(12):
        process = SERVER.Process(target=save_for_ever, args=(folder,))
        process.start()
        while newest(folder) <= max(found):
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        interrupted += any(folder.glob("*.tmp"))
        run = Run(folder)
        assert run.restore() is not None
        found[run.step] = run.hash()
    assert len(found) == 13
    assert interrupted
    whole = Run(tmp_path)
    for step in list(found)[1:]:
        whole.train(step - whole.step)
        assert whole.hash() == found[step]


def train_save_train(ranks: Ranks, folder: Path, steps: int, more: int) -> tuple[str, str]:
    run = Run(folder, ranks)
    run.train(steps)
    run.save(torch.arange(3))
    before = run.hash()
    run.train(more)
    return before, run.hash()


def restore_train(ranks: Ranks, folder: Path, more: int) -> tuple[str, str, int]:
    run = Run(folder, ranks)
    extra = run.restore()
    assert extra is not None
    assert extra[1] is not None
    assert torch.equal(extra[1], torch.arange(3))
    before = run.hash()
    run.train(more)
    return before, run.hash(), run.step


@pytest.mark.slow
def test_ranks_go_on_as_if_never_stopped(tmp_path: Path) -> None:
    saved = on_ranks(2, train_save_train, tmp_path, 3, 4)
    assert len(list(tmp_path.glob("step-000003/tensors/*"))) == 2
    restored = on_ranks(2, restore_train, tmp_path, 4)
    assert [(before, after) for before, after, _ in restored] == saved


def tensors_hash(ranks: Ranks, folder: Path, steps: int) -> str:
    """Hash after training and saving, or after restoring if steps is 0."""
    run = Run(folder, ranks)
    if steps:
        run.train(steps)
        run.save()
    else:
        run.restore()
    return run.hash()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 3])
def test_another_number_of_ranks_takes_over(tmp_path: Path, ranks: int) -> None:
    before = on_ranks(2, tensors_hash, tmp_path, 3)
    assert set(on_ranks(ranks, tensors_hash, tmp_path, 0)) == set(before)


def restored_step(ranks: Ranks, folder: Path) -> int:
    run = Run(folder, ranks)
    run.restore()
    return run.step


@pytest.mark.slow
def test_ranks_agree_on_what_is_damaged(tmp_path: Path) -> None:
    trained(tmp_path, (1, 2))
    flip(tmp_path / "step-000002" / "state.json")  # one rank hashes it
    assert on_ranks(2, restored_step, tmp_path) == [1, 1]
