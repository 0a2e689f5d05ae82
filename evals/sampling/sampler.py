"""Sampling a model's responses to the benchmarks, and then those of others that wait for it.

Every sample of a model has a seed of its own, from the evaluation's seed, the run's, the problem
and the sample's number, so that it matters neither when nor beside which others it is sampled.
Methods share those of a training seed (common random numbers): their answers then differ because
the policies do, and the variance of a paired difference is a third of that of unshared ones on the
embedded default.

A small model is sampled sooner than an engine has started; a job that has one therefore goes on,
with other weights, to runs of the same architecture whose own jobs still wait, and they find them
done.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from kpo.common.cli import warn
from kpo.common.files import sha256_file, sha256_json
from kpo.common.lock import lent
from kpo.common.manifest import Manifest
from kpo.common.seeding import derive_seed
from kpo.config.experiment import Experiment, run_parts
from kpo.distributed.ranks import pick_device
from kpo.evals.records import ProblemKey, Sample
from kpo.evals.sampling.benchmarks import all_problems, encode, load_benchmarks
from kpo.evals.sampling.repeats import refuse_repeats
from kpo.evals.sampling.unfinished import UnfinishedSamples, inputs_hash
from kpo.model.loading import load_policy
from kpo.model.policy import load_tokenizer, weights_hash
from kpo.rollout.engine import NEUTRAL, RolloutEngine, Sampling
from kpo.rollout.factory import make_engine
from kpo.tasks.problems import Problem
from kpo.tasks.prompts import FORCED_THINKING, PROTOCOLS

SEED_RULE = "sha256(seed/training seed/benchmark/problem) + sample"
"""A response's seed, for manifests; `derive_seed` says which bits of the digest."""


class Sampler:
    """Samples models with one engine, one after the other."""

    def __init__(self, experiment: Experiment, problems: Path | None, checked: Path | None) -> None:
        self.experiment, self.problems = experiment, problems
        self.benchmarks = load_benchmarks(experiment, problems, checked)
        self.engine: RolloutEngine | None = None
        self.sampled: set[str] = set()
        torch.set_num_threads(experiment.evaluate.threads)

    def sample(self, name: str, model: Path, unfinished: UnfinishedSamples, inputs: str) -> None:
        """Sample what is missing of a run; its samples are then complete, with their manifest."""
        experiment, settings = self.experiment, self.experiment.evaluate
        manifest = Manifest(experiment.experiment, experiment.section("evaluate"))
        tokenizer, _ = load_tokenizer(model)
        prompts = encode(experiment, tokenizer, model, self.benchmarks)
        if PROTOCOLS[experiment.prompt].forces_thinking(tokenizer):
            warn(FORCED_THINKING)
        longest = max(map(len, prompts.values())) + settings.max_response_tokens
        engine = self._engine(model, longest)
        self.sampled.add(name)
        identity = PROTOCOLS[experiment.prompt].identity(tokenizer, prompts.values())
        protocol = self._protocol(identity, engine.describe())
        done = unfinished.resume(inputs, sha256_json(protocol), settings.samples)
        waiting = [(b, p) for b, p in all_problems(self.benchmarks) if (b, p.id) not in done]
        with tqdm(total=len(prompts), initial=len(done), desc=name, unit="problem") as bar:
            for rows in self._rows(name, waiting, prompts, tokenizer, engine):
                unfinished.append(rows)
                bar.update(len(rows) // settings.samples)
        samples = unfinished.sort(list(prompts))
        responses = sorted([*s.key, s.response] for s in samples)
        memory = settings.gpu_memory if settings.gpus else None
        manifest.finish(
            unfinished.manifest,
            run=name,
            model=weights_hash(model),
            responses_sha256=sha256_json(responses),
            data={benchmark.name: benchmark.origin for benchmark in self.benchmarks},
            resources={"threads": settings.threads, "gpus": settings.gpus, "gpu_memory": memory},
            protocol=protocol,
        )

    def _rows(
        self,
        run: str,
        waiting: Sequence[tuple[str, Problem]],
        prompts: dict[ProblemKey, list[int]],
        tokenizer: Any,
        engine: RolloutEngine,
    ) -> Iterator[list[Sample]]:
        """Samples of the (benchmark, problem) that are waiting, as some are finished.

        Raises RepeatError for samples that repeat beyond chance.
        """
        settings = self.experiment.evaluate
        sampling = Sampling(
            samples=settings.samples,
            max_tokens=settings.max_response_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            logprobs=False,
        )
        names = [f"{name} {problem.id}" for name, problem in waiting]
        asked = [prompts[name, problem.id] for name, problem in waiting]
        _, trained = run_parts(run)
        seeds = [derive_seed(settings.seed, trained, name, problem.id) for name, problem in waiting]
        for finished in engine.stream(asked, seeds, sampling):
            refuse_repeats(names, asked, seeds, finished, sampling, engine)
            rows = []
            for i, group in finished:
                (name, problem), tokens = waiting[i], [response.tokens for response in group]
                texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
                for j, (text, one) in enumerate(zip(texts, group, strict=True)):
                    told = problem.answer, text, len(one.tokens), one.finish
                    rows.append(Sample(name, problem.id, j, *told))
            yield rows

    def _protocol(self, prompt: dict[str, Any], engine: dict[str, Any]) -> dict[str, Any]:
        """Everything that must be equal for two models' results to stand in one table."""
        settings = self.experiment.evaluate
        first = {key: getattr(settings, key) for key in ("samples", "temperature", "top_p")}
        then = {key: getattr(settings, key) for key in ("max_response_tokens", "seed")}
        return {
            "prompt": prompt,
            "sampling": {**first, **NEUTRAL, **then, "seed_rule": SEED_RULE},
            "engine": engine,
            "data": {benchmark.name: benchmark.record() for benchmark in self.benchmarks},
        }

    def go_on(self, queue: Path) -> None:
        """Sample ahead, for as long as there is one, a run that is asked for in the folder `queue`.

        `<run>/asked` there holds the folder of its model. What goes wrong is left to the run's own
        job, as the one that this job is for is finished.
        """
        try:
            while any(self._ahead(asked) for asked in sorted(queue.glob("*/asked"))):
                pass
        except Exception:
            warn(f"sampling ahead ended\n{traceback.format_exc()}")

    def _ahead(self, asked: Path) -> bool:
        """Sample one run if it waits, nobody else does, and the engine can; whether it was done."""
        name, unfinished = asked.parent.name, UnfinishedSamples(asked.with_name("samples.jsonl"))
        if name in self.sampled:
            return False
        with lent(unfinished.lock) as free:
            if not free or not unfinished.is_wanted(asked):
                return False
            model = Path(asked.read_text().strip())
            inputs = inputs_hash(self.experiment, name, model, self.problems)
            if unfinished.is_finished(inputs) or _kind(model) != self.kind:
                return False
            self.sample(name, model, unfinished, inputs)
            return True

    def _engine(self, model: Path, longest: int) -> RolloutEngine:
        """The engine with the weights of this model."""
        settings = self.experiment.evaluate
        if self.engine is None:
            self.kind, self.longest = _kind(model), longest
            device = pick_device(settings.gpus)
            self.engine = make_engine(settings, model, longest=longest, device=device)
        elif longest == self.longest:
            self.engine.sync_weights(load_policy(model, dtype=settings.dtype, longest=longest))
        else:
            raise ValueError(f"{model}: the engine was made for requests of another length")
        return self.engine


def _kind(model: Path) -> list[object]:
    """What must be equal for two models to take turns in an engine: architecture, end tokens."""
    return [sha256_file(model / "config.json"), load_tokenizer(model)[1]]
