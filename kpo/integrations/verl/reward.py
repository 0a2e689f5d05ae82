"""The reward of a response in verl: the suite's own grade of it, 1 or 0.

verl calls `compute_score` in the threads of several workers. Each of these grades in one thread, by
a process that can be killed, so that neither needs signals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from kpo.evals.grading.grader import Grader
from kpo.tasks.registry import make_task
from kpo.tasks.task import Task, grades

_THREAD = ThreadPoolExecutor(1, "grading")


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    how: str,
) -> float:
    """1 for a right answer, else 0, as verl's `reward.custom_reward_function`.

    `how` are the experiment's task (or null), where answers are, and its grading section, as JSON.
    """
    return _THREAD.submit(_graded, how, ground_truth, solution_str).result()


def _graded(how: str, gold: str, response: str) -> float:
    task, grader = _grading(how)
    (grade,) = grades(task, [(gold, response)], grader)
    return float(grade.correct)


@cache
def _grading(how: str) -> tuple[Task | None, Grader]:
    given = json.loads(how)
    task = given["task"] and make_task(given["task"])
    return task, Grader(workers=1, answers=given["answers"], **given["grading"])
