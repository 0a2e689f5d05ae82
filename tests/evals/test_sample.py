"""Sampling for evaluation: rows, seeds, refusals, and going on after an interruption."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from evals import sample
from evals.records import BadRowError, read_samples
from evals.sampling import sampler as sampling
from evals.sampling.repeats import RepeatError
from kpo.model.policy import save_model
from kpo.rollout.engine import Finished, Response, Sampling, in_order
from kpo.tasks.problems import DataError
from kpo.tasks.prompts import prompts_hash
from kpo.tasks.tokenizer import character_tokenizer
from tests.evals.sampled import NAMES, PROBLEMS, SAMPLES, experiment, write_problems
from tests.kpo.models import tiny_policy

Row = dict[str, Any]
TOKENIZER = character_tokenizer()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_problems(tmp_path_factory.mktemp("problems"))


class FakeEngine:
    """Answers with prompt and seed, the last prompt first; stops after `calls` problems."""

    def __init__(self, calls: int = 10**9) -> None:
        self.calls = calls
        self.asked: list[tuple[str, int]] = []
        self.options: dict[str, Any] = {}
        self.samplings: list[Sampling] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        return in_order(self.stream(prompts, seeds, sampling))

    def stream(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[Finished]:
        self.samplings.append(sampling)
        for i in reversed(range(len(prompts))):
            if self.calls == 0:
                raise KeyboardInterrupt
            self.calls -= 1
            text = TOKENIZER.decode(list(prompts[i])).strip()
            self.asked += [(text, seeds[i] + j) for j in range(sampling.samples)]
            yield [(i, [self._answer(text, seeds[i] + j, j) for j in range(sampling.samples)])]

    def _answer(self, text: str, seed: int, j: int) -> Response:
        ids = TOKENIZER(f"{text} {seed}")["input_ids"] + [TOKENIZER.eos_token_id] * (j % 2)
        return Response(ids, [], "stop" if j % 2 else "length")

    def describe(self) -> dict[str, Any]:
        return {"name": "fake", "version": "1"}


Run = Callable[..., tuple[FakeEngine, list[Row]]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "evals" / "samples.jsonl"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, model: Path, problems: Path, out: Path) -> Run:
    """Samples with a fake engine; returns the engine and the rows."""

    def run_(
        name: str = "grpo-s0",
        calls: int = 10**9,
        folder: Path = model,
        queue: Path | None = None,
        **evaluate: Any,
    ) -> tuple[FakeEngine, list[Row]]:
        engine = FakeEngine(calls)

        def make_engine(*arguments: Any, **options: Any) -> FakeEngine:
            engine.options = {"arguments": arguments, **options}
            return engine

        monkeypatch.setattr(sampling, "make_engine", make_engine)
        try:
            sample.run(experiment(**evaluate), name, folder, problems, out, queue)
        except KeyboardInterrupt:
            return engine, []
        return engine, [json.loads(line) for line in out.read_text().splitlines()]

    return run_


def unfinished(out: Path) -> Path:
    return out.with_name(".samples.unfinished.jsonl")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# What is written


def test_rows_stand_by_benchmark_problem_and_sample(run: Run, out: Path) -> None:
    engine, rows = run()
    assert [(row["benchmark"], row["id"], row["sample"]) for row in rows] == [
        (name, i, j) for name, i in NAMES for j in range(SAMPLES)
    ]
    starts = range(0, len(engine.asked), SAMPLES)
    finished = [engine.asked[start : start + SAMPLES] for start in starts]
    asked = dict(zip(NAMES, reversed(finished), strict=True))
    for row in rows:
        text, seed = asked[row["benchmark"], row["id"]][row["sample"]]
        benchmark, number = row["id"].split("/")
        assert text == PROBLEMS[benchmark][int(number)]
        assert row["answer"] == number
        assert row["response"] == f"{text} {seed}"  # without its end token
        assert row["tokens"] == len(row["response"]) + row["sample"] % 2
        assert row["finish"] == ("stop" if row["sample"] % 2 else "length")
    assert len(read_samples(out)) == len(rows)
    assert names(out.parent) == ["manifest.json", "samples.jsonl"]


def test_the_sampling_is_the_configured_one(run: Run, model: Path) -> None:
    engine, _ = run(temperature=0.7, top_p=0.9, dtype="bfloat16", threads=1)
    expected = Sampling(SAMPLES, max_tokens=20, temperature=0.7, top_p=0.9, logprobs=False)
    assert set(engine.samplings) == {expected}
    longest = max(len(text) + 1 for texts in PROBLEMS.values() for text in texts)
    assert engine.options == {
        "arguments": ("transformers", model),
        "max_tokens": longest + 20,
        "dtype": "bfloat16",
        "device": torch.device("cpu"),
        "tensor_parallel": 1,
        "gpu_memory": None,
    }


@pytest.mark.parametrize(("limit", "count"), [(None, 5), (2, 4), (1, 2)])
def test_the_limit_is_for_each_benchmark(run: Run, limit: int | None, count: int) -> None:
    assert len(run(limit=limit)[1]) == count * SAMPLES


def test_the_manifest_says_under_which_protocol(run: Run, out: Path) -> None:
    run()
    manifest = json.loads((out.parent / "manifest.json").read_text())
    protocol = manifest["protocol"]
    assert manifest["run"] == "grpo-s0"
    assert len(manifest["responses_sha256"]) == 64
    assert manifest["settings_sha256"]
    assert protocol["engine"] == {"name": "fake", "version": "1"}
    assert protocol["prompt"]["name"] == "plain"
    asked = [TOKENIZER(f"{text}\n")["input_ids"] for texts in PROBLEMS.values() for text in texts]
    assert protocol["prompt"]["prompts_sha256"] == prompts_hash(asked)
    sampling = protocol["sampling"]
    assert sampling == {
        "seed_rule": "sha256(seed/run/benchmark/problem) + sample",
        "samples": SAMPLES,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "max_response_tokens": 20,
        "seed": 0,
    }
    assert manifest["resources"] == {"threads": 1, "gpus": 0, "gpu_memory": None}
    assert manifest["data"] == {name: {"file": f"{name}.jsonl"} for name in PROBLEMS}
    assert len(manifest["model"]) == 64
    assert manifest["hardware"]["cores"] >= 1
    assert {name: data["problems"] for name, data in protocol["data"].items()} == {
        "easy": 3,
        "hard": 2,
    }


@pytest.mark.parametrize(
    "change", [{"temperature": 0.5}, {"top_p": 0.5}, {"seed": 1}, {"limit": 1}, {"samples": 2}]
)
def test_another_protocol_is_recorded(run: Run, out: Path, change: dict[str, Any]) -> None:
    protocols = []
    for evaluate in ({}, change):
        run(**evaluate)
        protocols.append(json.loads((out.parent / "manifest.json").read_text())["protocol"])
    assert protocols[0] != protocols[1]


# Seeds


def test_every_run_problem_and_sample_has_a_seed_of_its_own(run: Run) -> None:
    seeds = [
        seed
        for arguments in ({"name": "base"}, {"name": "grpo-s0"}, {"name": "base", "seed": 1})
        for _, seed in run(**arguments)[0].asked
    ]
    assert len(set(seeds)) == len(seeds) == 3 * len(NAMES) * SAMPLES


def test_seeds_do_not_depend_on_what_else_is_sampled(run: Run) -> None:
    whole = dict(run()[0].asked)
    part = dict(run(benchmarks=["hard"], limit=1)[0].asked)
    assert part == {"99-9-9=?": whole["99-9-9=?"]}


# Going on after an interruption


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


# Refusals


@pytest.mark.parametrize(("room", "fits"), [(9, True), (8, False)])
def test_a_prompt_that_leaves_no_room_is_refused(
    run: Run, out: Path, room: int, fits: bool
) -> None:
    limit = 128  # positions of the model; the longest prompt is `11+2+2=?` and a line end
    if fits:
        run(max_response_tokens=limit - room)
        return
    with pytest.raises(
        DataError, match=r"easy: the prompt of easy/2 has 9 tokens and .* is 120, to"
    ):
        run(max_response_tokens=limit - room)
    assert not out.exists()


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


def test_the_command_line_names_a_missing_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--config", "workflow/config/tiny.yaml", "--run", "base", "--model", "nowhere"]
    monkeypatch.setattr("sys.argv", ["sample", *arguments, "--out", str(tmp_path / "x.jsonl")])
    with pytest.raises(SystemExit) as exit_:
        sample.main()
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: --model nowhere: no such folder\n"


# With a real engine


def test_the_real_engine_gives_the_same_file_twice(
    model: Path, problems: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        sample.run(experiment(), "base", model, problems, tmp_path / name / "samples.jsonl")
    samples = read_samples(tmp_path / "a" / "samples.jsonl")
    assert len(samples) == len(NAMES) * SAMPLES
    assert len({s.response for s in samples}) > len(NAMES)
    assert {s.finish for s in samples} <= {"stop", "length"}
    assert all(1 <= s.tokens <= 20 for s in samples)
    a, b = ((tmp_path / name / "samples.jsonl").read_bytes() for name in ("a", "b"))
    assert a == b
