"""Sampling for evaluation: rows, seeds, manifest, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.common.files import sha256_json
from kpo.evals import sample
from kpo.evals.records import read_samples
from kpo.rollout.engine import Sampling
from kpo.tasks.problems import DataError
from tests.evals.sampled import NAMES, PROBLEMS, SAMPLES, experiment
from tests.evals.sampling.faked import TOKENIZER, Run, names


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
    section, folder = engine.options.pop("arguments")
    assert (section.engine, section.dtype, folder) == ("transformers", "bfloat16", model)
    assert engine.options == {
        "longest": longest + 20,
        "device": torch.device("cpu"),
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
    assert protocol["prompt"]["prompts_sha256"] == sha256_json(asked)
    sampling = protocol["sampling"]
    assert sampling == {
        "seed_rule": "sha256(seed/training seed/benchmark/problem) + sample",
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


def test_every_training_seed_problem_and_sample_has_a_seed_of_its_own(run: Run) -> None:
    seeds = [
        seed
        for arguments in (
            {"name": "base"},
            {"name": "grpo-s0"},
            {"name": "grpo-s1"},
            {"name": "base", "seed": 1},
        )
        for _, seed in run(**arguments)[0].asked
    ]
    assert len(set(seeds)) == len(seeds) == 4 * len(NAMES) * SAMPLES


def test_methods_share_the_seeds_of_a_training_seed(run: Run) -> None:
    assert run(name="kpo-clipped-s1")[0].asked == run(name="grpo-s1")[0].asked


def test_seeds_do_not_depend_on_what_else_is_sampled(run: Run) -> None:
    whole = dict(run()[0].asked)
    part = dict(run(benchmarks=["hard"], limit=1)[0].asked)
    assert part == {"99-9-9=?": whole["99-9-9=?"]}


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


def test_the_command_line_names_a_missing_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--config", "workflow/config/tiny.yaml", "--run", "base", "--model", "nowhere"]
    monkeypatch.setattr("sys.argv", ["sample", *arguments, "--out", str(tmp_path / "x.jsonl")])
    with pytest.raises(SystemExit) as exit_:
        sample.main()
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: --model nowhere: no such folder\n"


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
