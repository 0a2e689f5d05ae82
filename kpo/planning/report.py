"""What preflight found, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kpo.planning.footprint import TRAINING_SHARE
from kpo.planning.machine import gb

if TYPE_CHECKING:
    from kpo.preflight import Preflight


def report(preflight: Preflight) -> str:
    """Everything, line by line."""
    parts = _model, _memory, _disk, _time, _evaluation
    return "\n".join(line for part in parts for line in part(preflight))


def _model(preflight: Preflight) -> Iterator[str]:
    t, f = preflight.experiment.train, preflight.footprint
    each = len(f.micro_batches) // t.world
    yield f"{preflight.experiment.experiment}: {f.size.parameters:,} parameters"
    yield (
        f"step: {t.prompts} prompts x {t.group} responses of at most {t.longest:,} tokens with"
        f" their prompts, {f.responses * t.longest:,} together ({f.packed_tokens:,} packed)"
    )
    yield (
        f"update: {t.mini_batches} mini-batches, of at most {each} micro-batches on each of"
        f" {t.world} ranks; micro-batches of up to {t.max_tokens_per_microbatch:,} tokens"
    )


def _memory(preflight: Preflight) -> Iterator[str]:
    phases = preflight.phases.values()
    parts = list(dict.fromkeys(part for phase in phases for part in phase))
    rows = {part: [phase.get(part, 0.0) for phase in phases] for part in parts}
    rows["together"] = [sum(phase.values()) for phase in phases]
    yield f"memory of a rank, of {gb(preflight.machine.memory)}:"
    yield "  " + f"{'':26}" + "".join(f"{phase:>12}" for phase in preflight.phases)
    for name, values in rows.items():
        yield f"  {name:26}" + "".join(f"{gb(value):>12}" for value in values)
    if preflight.experiment.train.engine == "vllm":
        tokens = preflight.footprint.sampler.cache_tokens(preflight.machine.memory)
        yield f"  vLLM's share holds the weights and a cache of about {tokens:,} tokens"


def _disk(preflight: Preflight) -> Iterator[str]:
    f, runs = preflight.footprint, len(preflight.experiment.runs)
    at_once = preflight.machine.at_once
    here = "" if at_once is None else f" (here at most {at_once} at a time)"
    yield (
        f"disk: {gb(f.checkpoints())} of checkpoints for each run that trains{here},"
        f" {gb(f.models(runs))} for the final models of {runs} runs and the base"
    )


def _time(preflight: Preflight) -> Iterator[str]:
    t, f, runs = preflight.experiment.train, preflight.footprint, len(preflight.experiment.runs)
    yield (
        f"operations of a step: {f.rollout:.3g} rollout, {f.forward:.3g} old log-probs,"
        f" {f.update:.3g} update"
    )
    yield (
        f"rate: {preflight.machine.rate / 1e12:.3g} TFLOP/s a rank in matrix products, of which"
        f" training is taken to reach {TRAINING_SHARE:.0%} (measured on an H200) and sampling"
        f" {preflight.sampling_share:.0%} (assumed)"
    )
    parts = ", ".join(f"{name} {duration(value)}" for name, value in preflight.seconds.items())
    yield f"longest step: {duration(preflight.step)} ({parts})"
    if (a_run := preflight.run_seconds) is None:
        a_thousand = preflight.step * t.total_steps(1000)
        yield (
            f"steps: {t.epochs} x problems / {t.prompts}; how many problems {t.problems} has is not"
            f" known here: for each 1,000 of them at most {duration(a_thousand)} a run,"
            f" {duration(a_thousand * runs)} for all {runs} runs one after the other"
        )
        return
    steps = t.total_steps(preflight.problems or 0)
    of = "" if t.epochs is None else f" ({t.epochs} x {preflight.problems:,} problems)"
    yield (
        f"{steps:,} steps{of}: at most {duration(a_run)} a run, {duration(a_run * runs)} for all"
        f" {runs} runs one after the other"
    )


def _evaluation(preflight: Preflight) -> Iterator[str]:
    e, settings = preflight.evaluation, preflight.experiment.evaluate
    yield (
        f"evaluation: {e.models} models on {e.total_problems:,} problems x {settings.samples}"
        f" responses of at most {settings.max_response_tokens:,} tokens, to prompts of {e.prompt:,}"
    )
    if e.unknown:
        yield f"  not counted, as their sizes are not known here: {', '.join(e.unknown)}"
    if e.device is None or e.seconds is None:
        yield "  on another kind of device than training: its memory and time are not planned for"
        return
    there = e.device.memory
    yield f"  memory: {gb(e.sampler.memory(there))} of {gb(there)} on each of {e.sampler.spread}"
    yield (
        f"  at most {duration(e.seconds)} a model, {duration(e.seconds * e.models)} for all"
        f" {e.models} one after the other"
    )
    if preflight.run_seconds is not None:
        training = preflight.run_seconds * len(preflight.experiment.runs)
        together = training + e.seconds * e.models
        yield f"together: at most {duration(together)}, one after the other"


def duration(seconds: float) -> str:
    """For readers, in the unit that fits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"
