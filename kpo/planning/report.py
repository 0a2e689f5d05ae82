"""What an experiment needs, as text."""

from __future__ import annotations

from collections.abc import Iterator

from kpo.planning.memory import gb
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
    rollout, update = plan.phases["rollout"], plan.phases["update"]
    yield f"memory of a rank, of {gb(plan.machine.rank.memory)}:"
    yield f"  {'':26}{'rollout':>12}{'update':>12}"
    for part in update:
        yield f"  {part:26}{gb(rollout.get(part, 0.0)):>12}{gb(update[part]):>12}"
    together = (gb(sum(phase.values())) for phase in (rollout, update))
    yield "  {:26}{:>12}{:>12}".format("together", *together)
    if plan.experiment.train.engine == "vllm":
        tokens = plan.rollout.cache_tokens(plan.machine.rank.memory)
        yield f"  vLLM's share holds the weights and a cache of about {tokens:,} tokens"


def _disk(plan: Plan) -> Iterator[str]:
    (checkpoints, models), at_once = plan.disk, plan.machine.at_once
    here = "" if at_once is None else f" (here at most {at_once} at a time)"
    yield (
        f"disk: {gb(checkpoints)} of checkpoints for each run that trains{here}, {gb(models)} for"
        f" the final models of {len(plan.experiment.runs)} runs and the base"
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
    a_step = sum(seconds.values())
    yield f"longest step: {duration(a_step)} ({parts})"
    if (steps := plan.steps) is None:
        steps = t.total_steps(1000)
        what = (
            f"steps: {t.epochs} x problems / {t.prompts}; how many problems {t.problems} has is not"
            " known here: for each 1,000 of them"
        )
    else:
        of = "" if t.epochs is None else f" ({t.epochs} x {plan.problems:,} problems)"
        what = f"{steps:,} steps{of}:"
    yield (
        f"{what} at most {duration(steps * a_step)} a run, {duration(steps * a_step * runs)} for"
        f" all {runs} runs one after the other"
    )


def _evaluation(plan: Plan) -> Iterator[str]:
    e, runs = plan.experiment.evaluate, len(plan.experiment.runs)
    models = runs + 1
    yield (
        f"evaluation: {models} models on {sum(filter(None, plan.benchmarks.values())):,} problems x"
        f" {e.samples} responses of at most {e.max_response_tokens:,} tokens, to prompts of"
        f" {plan.experiment.train.max_prompt_tokens:,}"
    )
    if unknown := [name for name, count in plan.benchmarks.items() if count is None]:
        yield f"  not counted, as their sizes are not known here: {', '.join(unknown)}"
    if plan.machine.evaluation is None or (a_model := plan.evaluation_seconds) is None:
        yield "  on another kind of device than training: its memory and time are not planned for"
        return
    there, spread = plan.machine.evaluation.memory, plan.evaluation.spread
    yield f"  memory: {gb(plan.evaluation.memory(there))} of {gb(there)} on each of {spread}"
    yield (
        f"  at most {duration(a_model)} a model, {duration(models * a_model)} for all {models} one"
        " after the other"
    )
    if plan.steps is not None:
        a_run = plan.steps * sum(plan.step.seconds(plan.machine.rank.rate).values())
        together = duration(runs * a_run + models * a_model)
        yield f"together: at most {together}, one after the other"


def duration(seconds: float) -> str:
    """For readers, in the unit that fits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"
