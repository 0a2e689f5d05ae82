"""Sample responses of one model to every benchmark problem.

    python -m evals.sample --config workflow/config/tiny.yaml --run gspo-s0 \\
        --model results/tiny/runs/gspo-s0/model --problems results/tiny/problems \\
        --out results/tiny/evals/gspo-s0/samples.jsonl

Every sample has a seed of its own, from the evaluation's seed, the run, the problem and the
sample's number. A problem is written when its samples are there, so a run that was killed samples
only what was in flight again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoConfig

from evals.benchmarks import Benchmark, all_problems, encode, load_benchmarks
from evals.repeats import RepeatError, refuse_repeats
from evals.sample_file import BadRowError
from evals.unfinished import Key, UnfinishedSamples
from kpo.builds import BuildError, check_builds
from kpo.cli import experiment_argument, fail, hold_or_exit, load_or_exit, warn
from kpo.config import Experiment
from kpo.files import sha256_json
from kpo.manifest import Manifest
from kpo.model_files import ModelError
from kpo.policy import load_tokenizer, weights_hash
from kpo.ranks import RanksError, pick_device
from kpo.rollout.engine import NEUTRAL, RolloutEngine, Sampling, make_engine
from kpo.seeding import derive_seed
from kpo.tasks.problems import DataError, Problem
from kpo.tasks.prompts import FORCED_THINKING, PROTOCOLS

SEED_RULE = "sha256(seed/run/benchmark/problem) + sample"
"""A response's seed, for manifests; `derive_seed` says which bits of the digest."""


def protocol_record(
    experiment: Experiment,
    tokenizer: Any,
    benchmarks: list[Benchmark],
    prompts: dict[Key, list[int]],
    engine: dict[str, Any],
) -> dict[str, Any]:
    """Everything that must be equal for two models' results to stand in one table."""
    settings = experiment.evaluate
    return {
        "prompt": PROTOCOLS[experiment.prompt].identity(tokenizer, prompts.values()),
        "sampling": {
            "samples": settings.samples,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            **NEUTRAL,
            "max_response_tokens": settings.max_response_tokens,
            "seed": settings.seed,
            "seed_rule": SEED_RULE,
        },
        "engine": engine,
        "data": {benchmark.name: benchmark.record() for benchmark in benchmarks},
    }


def sample(
    experiment: Experiment,
    run: str,
    waiting: list[tuple[str, Problem]],
    prompts: dict[Key, list[int]],
    tokenizer: Any,
    engine: RolloutEngine,
) -> Iterator[list[dict[str, Any]]]:
    """Rows of samples.jsonl for the (benchmark, problem) that are waiting, as they are finished.

    Raises RepeatError for samples that repeat beyond chance.
    """
    settings = experiment.evaluate
    sampling = Sampling(
        samples=settings.samples,
        max_tokens=settings.max_response_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        logprobs=False,
    )
    names = [f"{name} {problem.id}" for name, problem in waiting]
    asked = [prompts[name, problem.id] for name, problem in waiting]
    seeds = [derive_seed(settings.seed, run, name, problem.id) for name, problem in waiting]
    for finished in engine.stream(asked, seeds, sampling):
        places, groups = [i for i, _ in finished], [group for _, group in finished]
        refuse_repeats(
            [names[i] for i in places],
            [asked[i] for i in places],
            [seeds[i] for i in places],
            groups,
            sampling,
            engine,
        )
        for i, group in finished:
            yield _rows(*waiting[i], group, tokenizer)


def _rows(
    benchmark: str, problem: Problem, group: list[Any], tokenizer: Any
) -> list[dict[str, Any]]:
    texts = tokenizer.batch_decode([r.tokens for r in group], skip_special_tokens=True)
    return [
        {
            "benchmark": benchmark,
            "id": problem.id,
            "sample": j,
            "answer": problem.answer,
            "response": text,
            "tokens": len(response.tokens),
            "finish": response.finish,
        }
        for j, (response, text) in enumerate(zip(group, texts, strict=True))
    ]


def run(experiment: Experiment, name: str, model: Path, problems: Path | None, out: Path) -> None:
    """Sample everything and write samples.jsonl and, last, the manifest beside it."""
    settings = experiment.evaluate
    torch.set_num_threads(settings.threads)
    manifest = Manifest.start(experiment, experiment.section("evaluate"))
    benchmarks = load_benchmarks(experiment, problems)
    tokenizer, _ = load_tokenizer(model)
    limit = AutoConfig.from_pretrained(model).max_position_embeddings
    prompts = encode(experiment, tokenizer, limit, benchmarks)
    if PROTOCOLS[experiment.prompt].forces_thinking(tokenizer):
        warn(FORCED_THINKING)
    engine = make_engine(
        settings.engine,
        model,
        max_tokens=max(map(len, prompts.values())) + settings.max_response_tokens,
        dtype=settings.dtype,
        device=pick_device(settings.gpus),
        tensor_parallel=max(settings.gpus, 1),
        gpu_memory=settings.gpu_memory if settings.gpus else None,
    )
    protocol = protocol_record(experiment, tokenizer, benchmarks, prompts, engine.describe())
    weights = weights_hash(model)
    unfinished = UnfinishedSamples(out, sha256_json([protocol, weights, name]), settings.samples)
    done = unfinished.resume()
    waiting = [
        (b, problem) for b, problem in all_problems(benchmarks) if (b, problem.id) not in done
    ]
    with (
        unfinished.appending() as append,
        tqdm(total=len(prompts), initial=len(done), desc="sample", unit="problem") as bar,
    ):
        for rows in sample(experiment, name, waiting, prompts, tokenizer, engine):
            append(rows)
            bar.update()
    samples = unfinished.publish(list(prompts))
    responses = sorted([s.benchmark, s.id, s.sample, s.response] for s in samples)
    manifest.finish(
        out.with_name("manifest.json"),
        run=name,
        model=weights,
        responses_sha256=sha256_json(responses),
        data={benchmark.name: benchmark.origin for benchmark in benchmarks},
        resources={
            "threads": settings.threads,
            "gpus": settings.gpus,
            "gpu_memory": settings.gpu_memory if settings.gpus else None,
        },
        protocol=protocol,
    )
    unfinished.remove()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.sample",
        description="Sample a model's responses to the experiment's benchmarks. Reads the"
        " experiment file, the model and the problems; writes samples.jsonl, a line a response, and"
        " manifest.json beside it.",
    )
    experiment_argument(parser)
    parser.add_argument("--run", required=True, help="base, or <method>-s<seed>; enters the seeds")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder, read")
    parser.add_argument(
        "--problems", type=Path, help="folder of JSONL problems; else as configured"
    )
    parser.add_argument("--out", type=Path, required=True, help="samples.jsonl to write")
    args = parser.parse_args()
    experiment = load_or_exit(args.config)
    if not args.model.is_dir():
        fail(f"--model {args.model}: no such folder")
    hold_or_exit(args.out)
    try:
        check_builds(experiment)
        run(experiment, args.run, args.model, args.problems, args.out)
    except (BuildError, DataError, ModelError, BadRowError, RepeatError, RanksError) as error:
        fail(error)


if __name__ == "__main__":
    main()
