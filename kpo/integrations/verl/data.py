"""The problems of a run as verl reads them: Parquet, a row a problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment
from kpo.integrations.verl.overrides import PLAIN
from kpo.tasks.problems import Problem, choose_folder, open_problems
from kpo.tasks.prompts import PROTOCOLS, Phase, PromptProtocol
from kpo.trainer.batch import Prompt

Row = dict[str, Any]


def rows(
    source: str, problems: Iterable[Problem], protocol: PromptProtocol, phase: Phase
) -> Iterator[Row]:
    """verl's rows of a data set, which `source` names."""
    for index, problem in enumerate(problems):
        content = protocol.text(problem.problem, phase)
        yield {
            "data_source": source,
            "prompt": [{"role": "user", "content": content}],
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {"index": index, "id": problem.id},
        }


def benchmark_rows(experiment: Experiment) -> Iterator[Row]:
    """Those of the experiment's benchmarks, each as a whole."""
    protocol, data = PROTOCOLS[experiment.prompt], experiment.data
    for name in experiment.evaluate.benchmarks:
        if experiment.task is not None:
            pairs = enumerate(experiment.task.problems(name))
            problems = [Problem(f"{name}-{i}", text, gold) for i, (text, gold) in pairs]
        else:
            folder = choose_folder(data.benchmarks_folder, "KPO_BENCHMARKS")
            problems = open_problems(name, folder=folder, sources=data.sources).load()
        yield from rows(name, problems, protocol, "evaluation")


def write_rows(path: Path, found: Iterable[Row]) -> None:
    """Write rows as a Parquet file, through a temporary name."""
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(pa.Table.from_pylist(list(found)), partial)
    partial.replace(path)


def check_prompts(
    protocol: PromptProtocol, tokenizer: Any, problems: Iterable[Problem], prompts: Iterable[Prompt]
) -> None:
    """Raise UserError where verl would read other tokens than the suite does.

    verl knows chat templates alone, and no tokens that a tokenizer adds by itself.
    """
    own = {} if protocol.wraps(tokenizer) else {"chat_template": PLAIN}
    for problem, prompt in zip(problems, prompts, strict=True):
        message = {"role": "user", "content": protocol.text(problem.problem, "training")}
        tokens = tokenizer.apply_chat_template(
            [message], add_generation_prompt=True, enable_thinking=False, return_dict=True, **own
        )["input_ids"]
        if list(tokens) != prompt.tokens:
            raise UserError(
                f"verl would read other tokens for the prompt of {problem.id} than the suite does:"
                f" {len(tokens)} instead of {len(prompt.tokens)}, as prompts under"
                f" {protocol.name} begin or end with tokens that the tokenizer adds by itself; take"
                " a prompt protocol and a model with a chat template"
            )
