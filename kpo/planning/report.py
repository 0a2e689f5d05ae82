"""What an experiment needs, as text."""

from __future__ import annotations

from collections.abc import Iterator

from kpo.planning.memory import checkpoints_disk, gb, models_disk
from kpo.planning.operations import TRAINING_SHARE, sampling_share
from kpo.planning.plan import Plan


def report(plan: Plan) -> str:
    """What is needed, line by line."""
    parts = _step, _memory, _disk, _time, _evaluation
    return "\n".join(line for part in parts for line in part(plan))


def _step(plan: Plan) -> Iterator[str]:
    t, step = plan.experiment.train, plan.step
    each = len(step.micro_batches) // t.world
    yield f"{plan.experiment.experiment}: {plan.size.parameters:,} parameters"
    yield (
        f"step: {t.prompts} prompts x {t.group} responses of at most {t.longest:,} tokens with"
        f" their prompts, {step.responses * t.longest:,} together ({step.packed_tokens:,} packed),"
        f" in {t.mini_batches} mini-batches of at most {each} micro-batches on each of"
        f" {t.world} ranks"
    )


def _memory(plan: Plan) -> Iterator[str]:
    phases = plan.phases.values()
    parts = list(dict.fromkeys(part for phase in phases for part in phase))
    rows = {part: [phase.get(part, 0.0) for phase in phases] for part in parts}
    rows["together"] = [sum(phase.values()) for phase in phases]
    yield f"memory of a rank, of {gb(plan.machine.rank.memory)}:"
    yield "  " + f"{'':26}" + "".join(f"{phase:>12}" for phase in plan.phases)
    for name, values in rows.items():
        yield f"  {name:26}" + "".join(f"{gb(value):>12}" for value in values)
    if plan.experiment.train.engine == "vllm":
        tokens = plan.rollout.cache_tokens(plan.machine.rank.memory)
        yield f"  vLLM's share holds the weights and a cache of about {tokens:,} tokens"


def _disk(plan: Plan) -> Iterator[str]:
    runs, at_once = len(plan.experiment.runs), plan.machine.at_once
    here = "" if at_once is None else f" (here at most {at_once} at a time)"
    models = models_disk(plan.size, plan.experiment.train.dtype, runs)
    yield (
        f"disk: {gb(checkpoints_disk(plan.size))} of checkpoints for each run that trains{here},"
        f" {gb(models)} for the final models of {runs} runs and the base"
    )


def _time(plan: Plan) -> Iterator[str]:
    t, runs, rate = plan.experiment.train, len(plan.experiment.runs), plan.machine.rank.rate
    seconds = plan.step.seconds(rate)
    counts = ", ".join(f"{count:.3g} {phase}" for phase, count in plan.step.operations.items())
    yield f"operations of a step: {counts}"
    yield (
        f"rate: {rate / 1e12:.3g} TFLOP/s a rank in matrix products, of which"
        f" training is taken to reach {TRAINING_SHARE:.1%} (measured on an H200) and sampling"
        f" {sampling_share(t.gpus):.0%} (assumed)"
    )
    parts = ", ".join(f"{phase} {duration(value)}" for phase, value in seconds.items())
    yield f"longest step: {duration(sum(seconds.values()))} ({parts})"
    if (a_run := plan.run_seconds) is None:
        a_run = sum(seconds.values()) * t.total_steps(1000)
        what = (
            f"steps: {t.epochs} x problems / {t.prompts}; how many problems {t.problems} has is not"
            " known here: for each 1,000 of them"
        )
    else:
        of = "" if t.epochs is None else f" ({t.epochs} x {plan.problems:,} problems)"
        what = f"{t.total_steps(plan.problems or 0):,} steps{of}:"
    yield (
        f"{what} at most {duration(a_run)} a run, {duration(a_run * runs)} for all"
        f" {runs} runs one after the other"
    )


def _evaluation(plan: Plan) -> Iterator[str]:
    settings, models = plan.experiment.evaluate, len(plan.experiment.runs) + 1
    problems = sum(count or 0 for count in plan.benchmarks.values())
    yield (
        f"evaluation: {models} models on {problems:,} problems x {settings.samples} responses of at"
        f" most {settings.max_response_tokens:,} tokens, to prompts of"
        f" {plan.experiment.train.max_prompt_tokens:,}"
    )
    if unknown := [name for name, count in plan.benchmarks.items() if count is None]:
        yield f"  not counted, as their sizes are not known here: {', '.join(unknown)}"
    if plan.machine.evaluation is None or plan.evaluation_seconds is None:
        yield "  on another kind of device than training: its memory and time are not planned for"
        return
    there, all_models = plan.machine.evaluation.memory, models * plan.evaluation_seconds
    yield f"  memory: {gb(plan.evaluation.memory(there))} of {gb(there)} on each of" + (
        f" {plan.evaluation.spread}"
    )
    yield (
        f"  at most {duration(plan.evaluation_seconds)} a model, {duration(all_models)} for all"
        f" {models} one after the other"
    )
    if plan.run_seconds is not None:
        together = plan.run_seconds * len(plan.experiment.runs) + all_models
        yield f"together: at most {duration(together)}, one after the other"


def duration(seconds: float) -> str:
    """For readers, in the unit that fits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"
