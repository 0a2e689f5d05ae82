"""Going on after an interruption: what is left is used if it is of the same, and only then."""

from pathlib import Path
from typing import Any

import pytest

from kpo.evals.records import BadRowError
from kpo.evals.sampling.repeats import RepeatError
from kpo.model.policy import save_model
from kpo.rollout.engine import Response
from tests.evals.sampled import NAMES, SAMPLES
from tests.evals.sampling.faked import TOKENIZER, FakeEngine, Run, names, unfinished
from tests.kpo.models import tiny_policy


def test_finished_problems_are_not_sampled_again(run: Run, out: Path) -> None:
    engine, expected = run()
    out.unlink()
    first, _ = run(calls=2)
    assert not out.exists()
    assert len(unfinished(out).read_text().splitlines()) == 2 * SAMPLES
    second, rows = run()
    assert rows == expected
    assert first.asked + second.asked == engine.asked
    assert names(out.parent) == ["manifest.json", "samples.jsonl"]


@pytest.mark.parametrize("cut", [1, 40, 200, 10**6])
def test_a_torn_file_loses_only_its_last_problem(run: Run, out: Path, cut: int) -> None:
    engine, expected = run()
    out.unlink()
    run(calls=2)
    content = unfinished(out).read_bytes()
    unfinished(out).write_bytes(content[:-cut])
    whole = content[:-cut].count(b"\n") // SAMPLES
    again, rows = run()
    assert rows == expected
    assert again.asked == engine.asked[whole * SAMPLES :]


def test_a_line_that_is_broken_in_the_middle_is_named_and_nothing_is_lost(
    run: Run, out: Path
) -> None:
    run(calls=2)
    lines = unfinished(out).read_text().splitlines(keepends=True)
    lines[1] = lines[1][:40] + "\n"
    unfinished(out).write_text("".join(lines))
    with pytest.raises(
        BadRowError, match=r"samples\.unfinished\.jsonl, line 2 is not a whole JSON"
    ):
        run()
    assert unfinished(out).read_text() == "".join(lines)


@pytest.mark.parametrize(
    "change", [{"name": "base"}, {"temperature": 0.5}, {"samples": 2}, {"seed": 7}]
)
def test_what_another_run_or_protocol_left_is_not_used(
    run: Run, out: Path, change: dict[str, Any]
) -> None:
    _, expected = run(**change)
    out.unlink()
    run(calls=2)
    assert unfinished(out).is_file()
    engine, rows = run(**change)
    assert rows == expected
    assert len(engine.asked) == len(rows)


def test_what_another_model_left_is_not_used(run: Run, out: Path, tmp_path: Path) -> None:
    other = tiny_policy(seed=1)
    save_model(other.model, other.tokenizer, tmp_path / "other")
    run(calls=2)
    engine, _ = run(folder=tmp_path / "other")
    assert len(engine.asked) == len(NAMES) * SAMPLES


def test_an_unfinished_file_without_an_owner_is_not_used(run: Run, out: Path) -> None:
    out.parent.mkdir()
    unfinished(out).write_text("left by somebody\n")
    _, rows = run()
    assert len(rows) == len(NAMES) * SAMPLES


def test_samples_that_repeat_beyond_chance_stop_it_and_lose_nothing(
    run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_: FakeEngine, text: str, seed: int, j: int) -> Response:
        ids = TOKENIZER(text if text.startswith("99") else f"{text} {seed}")["input_ids"]
        return Response(ids, [-9.0] * len(ids), "stop")

    monkeypatch.setattr(FakeEngine, "_answer", answer)
    with pytest.raises(RepeatError, match="hard hard/0: 3 of 3 samples are the same 8 tokens"):
        run()
    assert (
        len(unfinished(out).read_text().splitlines()) == SAMPLES
    )  # of the last problem, the first to end
