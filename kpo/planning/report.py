"""What an experiment needs, as text; what will not fit, and what may not, with what to change."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from kpo.common.text import duration
from kpo.config.limits import faults_of
from kpo.planning.memory import RESERVE, gb
from kpo.planning.plan import TRAINING_SHARE, Plan, sampling_share

SPARE = 0.1
"""Share of the memory that should stay free: what is counted can be off by as much."""


class Warned(str):
    """A sentence of what may not fit."""


class Fault(str):
    """A sentence of what will not fit: the part, and the setting to change."""


def report(plan: Plan) -> list[str]:
    """What is needed, line by line, and a Warned or a Fault where it may not or will not fit."""
    parts = _step, _engines, _memory, _disk, _time, _evaluation
    said = [line for part in parts for line in part(plan)]
    ways = (other for train, (other, _) in plan.rows.items() if train != plan.experiment.train)
    others = [line for other in ways for line in _memory(other)]
    return said + [line for line in others if isinstance(line, Warned | Fault) and line not in said]


def _step(plan: Plan) -> Iterator[str]:
    t, each = plan.experiment.train, len(plan.micro_batches) // plan.experiment.train.world
    yield f"{plan.experiment.experiment}: {plan.size.parameters:,} parameters"
    yield (
        f"step: {t.prompts} prompts x {t.group} responses of at most {t.longest:,} tokens with"
        f" their prompts, {plan.responses * t.longest:,} together ({plan.packed_tokens:,} packed),"
        f" in {t.mini_batches} mini-batches of at most {each} micro-batches on each of"
        f" {t.world} ranks{f' of {t.nodes} nodes' if t.nodes > 1 else ''}"
        f"{f', {t.passes} times' if t.passes > 1 else ''}"
    )
    if otherwise := sum(bool(method.train) for method in plan.experiment.methods.values()):
        yield (
            f"  {otherwise} of {len(plan.experiment.methods)} rows are trained otherwise, in"
            f" {len(plan.rows)} ways together: what follows of a step is of the train section"
            " alone, times of all runs and what will not fit are of every row"
        )


def _engines(plan: Plan) -> Iterator[str]:
    train, evaluate = plan.experiment.train, plan.experiment.evaluate
    for key, settings in (("train", train), ("evaluate", evaluate)):
        here = plan.machine.disk is not None
        if here and settings.engine == "vllm" and importlib.util.find_spec("vllm") is None:
            yield Fault(
                f"{key}.engine is vllm, which is not installed: install it, or take transformers"
            )
    if train.engine == "verl":
        yield "  train.engine is verl: these figures are of the suite's own trainer on its GPUs"
    yield from map(Fault, faults_of(train, evaluate, plan.config))
    faults = plan.rollout.faults(plan.machine.rank.memory, "rollout engine", "train")
    yield from map(Fault, faults)


def _memory(plan: Plan) -> Iterator[str]:
    train, there = plan.experiment.train, plan.machine.rank.memory
    rollout, update = plan.phases["rollout"], plan.phases["update"]
    yield f"memory of a rank, of {gb(there)}:"
    yield f"  {'':26}{'rollout':>12}{'update':>12}"
    for part in update:
        yield f"  {part:26}{gb(rollout.get(part, 0.0)):>12}{gb(update[part]):>12}"
    together = {phase: sum(parts.values()) for phase, parts in plan.phases.items()}
    yield f"  {'together':26}" + "".join(f"{gb(total):>12}" for total in together.values())
    if plan.rollout.with_vllm:
        tokens = plan.rollout.cache_tokens(there)
        yield f"  vLLM's share holds the weights and a cache of about {tokens:,} tokens"
    for phase, total in together.items():
        parts = plan.phases[phase]
        largest = max((part for part in parts if part != "reserve"), key=parts.__getitem__)
        if total > there:
            yield Fault(
                f"{phase}: {gb(total)} a rank do not fit into {gb(there)}; the largest part is"
                f" {largest} ({gb(parts[largest])}): {_remedy(largest, plan)}"
            )
        elif total > (1 - SPARE) * there:
            yield Warned(
                f"{phase}: {gb(total)} of {gb(there)} leave less than {SPARE:.0%} to spare, by"
                f" which these figures may be off: {_remedy(largest, plan)}"
            )
    at_once, a_run = plan.machine.at_once or 1, train.per_node * (max(together.values()) - RESERVE)
    if not train.gpus and a_run <= train.per_node * there < at_once * a_run:
        yield Warned(  # on the CPU, runs share its memory with each other
            f"{at_once} runs at a time, for which there are cores, need {gb(at_once * a_run)} of"
            f" {gb(train.per_node * there)}: give snakemake fewer --cores, or raise train.threads"
        )


def _remedy(part: str, plan: Plan) -> str:
    train = plan.experiment.train
    if part in ("activations", "LM head and temporaries"):
        if not train.activation_checkpointing:
            return "set train.activation_checkpointing to true"
        return "lower train.max_tokens_per_microbatch"
    if part == "rollout engine":
        shared = plan.rollout.with_vllm and train.gpus
        return f"lower {'train.gpu_memory' if shared else 'train.group'}"
    return "raise train.gpus" if train.gpus else "choose a smaller policy"


def _disk(plan: Plan) -> Iterator[str]:
    runs, at_once, free = len(plan.experiment.runs), plan.machine.at_once, plan.machine.disk
    checkpoints, models = plan.checkpoints_disk, plan.models_disk
    here = "" if at_once is None else f" (here at most {at_once} at a time)"
    yield (
        f"disk: {gb(checkpoints)} of checkpoints for each run that trains{here}, {gb(models)} for"
        f" the final models of {runs} runs and the base"
    )
    need = (at_once or 1) * checkpoints + models
    if free is not None and need > free:
        yield Fault(
            f"checkpoints of {at_once or 1} runs at a time and models of {runs} runs need"
            f" {gb(need)} of disk, but there are {gb(free)}: make room, let fewer run at a time, or"
            " lower the number of seeds or methods"
        )


def _time(plan: Plan) -> Iterator[str]:
    t, runs, rate = plan.experiment.train, len(plan.experiment.runs), plan.machine.rank.rate
    counts = ", ".join(f"{count:.3g} {phase}" for phase, count in plan.operations.items())
    yield f"operations of a step: {counts}"
    yield (
        f"rate: {rate / 1e12:.3g} TFLOP/s a rank in matrix products, of which"
        f" training is taken to reach {TRAINING_SHARE:.1%} (measured on an H200) and sampling"
        f" {sampling_share(t.gpus):.0%} (assumed)"
    )
    parts = ", ".join(f"{phase} {duration(value)}" for phase, value in plan.seconds.items())
    a_step = sum(plan.seconds.values())
    yield f"longest step: {duration(a_step)} ({parts})"
    if t.steps is None and plan.problems is None:
        problems = 1000
        what = (
            f"steps: {t.epochs} x problems / {t.prompts}; how many problems {t.problems} has is not"
            " known here: for each 1,000 of them"
        )
    else:
        problems = plan.problems or 0
        of = "" if t.epochs is None else f" ({t.epochs} x {problems:,} problems)"
        what = f"{t.total_steps(problems):,} steps{of}:"
    yield (
        f"{what} at most {duration(t.total_steps(problems) * a_step)} a run,"
        f" {duration(plan.training_seconds(problems))} for all {runs} runs one after the other"
    )


def _evaluation(plan: Plan) -> Iterator[str]:
    e, there = plan.experiment.evaluate, plan.machine.evaluation
    models = len(plan.experiment.runs) + 1
    yield (
        f"evaluation: {models} models on"
        f" {sum(filter(None, plan.benchmarks.values())):,} problems x {e.samples} responses of at"
        f" most {e.max_response_tokens:,} tokens, to prompts of"
        f" {plan.experiment.train.max_prompt_tokens:,}"
    )
    if not e.asks_for_engine and e.engine != "vllm":
        yield f"  sampled with {e.engine}, as vLLM is not installed"
    if unknown := [name for name, count in plan.benchmarks.items() if count is None]:
        yield f"  not counted, as their sizes are not known here: {', '.join(unknown)}"
    if there is None:
        yield "  on another kind of device than training: its memory and time are not planned for"
        return
    need = plan.evaluation.memory(there.memory)
    yield f"  memory: {gb(need)} of {gb(there.memory)} on each of {plan.evaluation.spread}"
    if need > there.memory:
        yield Fault(
            f"evaluation: {gb(need)} do not fit into {gb(there.memory)}: choose a smaller policy,"
            " or lower evaluate.max_response_tokens"
        )
    yield from map(Fault, plan.evaluation.faults(there.memory, "evaluation", "evaluate"))
    a_model = plan.evaluation_seconds(there.rate)
    yield (
        f"  at most {duration(a_model)} a model, {duration(models * a_model)} for all {models} one"
        " after the other"
    )
    if plan.experiment.train.steps is not None or plan.problems is not None:
        together = duration(plan.training_seconds(plan.problems or 0) + models * a_model)
        yield f"together: at most {together}, one after the other"
