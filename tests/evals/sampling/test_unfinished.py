"""Samples of an unfinished evaluation: killed anywhere, nothing that was on disk is lost."""

import shutil
from pathlib import Path

import pytest

from kpo.evals.records import ProblemKey, Sample
from kpo.evals.sampling.unfinished import UnfinishedSamples
from tests.kpo.processes import killed_at_each_change

SAMPLES = 3
KEYS: list[ProblemKey] = [("easy", "b"), ("easy", "a"), ("hard", "c"), ("hard", "d")]


def rows(key: ProblemKey) -> list[Sample]:
    return [Sample(*key, j, "1", f"{key[1]} {j}", 3, "stop") for j in range(SAMPLES)]


def text(key: ProblemKey) -> str:
    return "".join(row.line() for row in rows(key))


def unfinished(out: Path) -> UnfinishedSamples:
    return UnfinishedSamples(out)


def resume(out: Path, inputs: str = "mine", protocol: str = "ours") -> set[ProblemKey]:
    return unfinished(out).resume(inputs, protocol, SAMPLES)


def leave(out: Path, content: str, inputs: str = "mine") -> None:
    """A file as an evaluation that was killed leaves it."""
    shutil.rmtree(out.parent, ignore_errors=True)
    resume(out, inputs)
    unfinished(out).path.write_text(content)


def finish(out: Path) -> None:
    """Go on to the end, the last problem first."""
    file = unfinished(out)
    if not file.is_finished("mine"):
        done = resume(out)
        for key in reversed(KEYS):
            if key not in done:
                file.append(rows(key))
        file.sort(KEYS)
        file.manifest.write_text("manifest")
    file.publish()
    file.remove()


LEFT = {
    "whole problems": text(KEYS[2]) + text(KEYS[0]),
    "a torn line": text(KEYS[2]) + text(KEYS[0])[:-20],
    "a problem that lacks rows": text(KEYS[2])
    + text(KEYS[0]).split("\n")[0]
    + "\n"
    + text(KEYS[1]),
    "half a line": text(KEYS[2])[:30],
    "nothing": "",
}
KEPT = {
    "whole problems": {KEYS[0], KEYS[2]},
    "a torn line": {KEYS[2]},
    "a problem that lacks rows": {KEYS[1], KEYS[2]},
    "half a line": set(),
    "nothing": set(),
}


@pytest.mark.slow
@pytest.mark.parametrize("left", LEFT)
def test_killed_at_any_change_on_disk_it_keeps_every_finished_problem(
    tmp_path: Path, left: str
) -> None:
    out = tmp_path / "evals" / "samples.jsonl"
    leave(out, LEFT[left])
    assert resume(out) == KEPT[left]
    leave(out, LEFT[left])
    deaths = 0
    for _ in killed_at_each_change(finish, out):
        deaths += 1
        if unfinished(out).path.exists():
            out.unlink(missing_ok=True)  # as Snakemake does before it starts the job again
            finished = unfinished(out).is_finished("mine")
            assert resume(out) >= (set(KEYS) if finished else KEPT[left])
        elif KEPT[left]:
            assert out.read_text() == "".join(map(text, KEYS))
            assert out.with_name("manifest.json").read_text() == "manifest"
        leave(out, LEFT[left])
    assert deaths >= 6
    assert out.read_text() == "".join(map(text, KEYS))
    assert sorted(path.name for path in out.parent.iterdir()) == ["manifest.json", "samples.jsonl"]


def test_what_is_missing_is_all_that_is_appended(tmp_path: Path) -> None:
    out = tmp_path / "samples.jsonl"
    leave(out, text(KEYS[3]) + text(KEYS[0])[:-5])
    file = unfinished(out)
    assert resume(out) == {KEYS[3]}
    assert file.path.read_text() == text(KEYS[3])
    file.append(rows(KEYS[1]))
    assert file.path.read_text() == text(KEYS[3]) + text(KEYS[1])


@pytest.mark.parametrize("change", ["inputs", "protocol"])
def test_a_file_of_another_identity_is_started_anew(tmp_path: Path, change: str) -> None:
    out = tmp_path / "samples.jsonl"
    leave(out, text(KEYS[0]))
    unfinished(out).manifest.write_text("manifest")
    assert unfinished(out).is_finished("mine")
    assert not unfinished(out).is_finished("another's")
    assert resume(out, **{change: "another's"}) == set()
    assert not unfinished(out).path.exists()
    assert not unfinished(out).is_finished("mine")
