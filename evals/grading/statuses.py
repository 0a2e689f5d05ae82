"""How a grade came about: the one list of statuses. Whatever is not `ok` is wrong."""

from __future__ import annotations

from typing import Literal, get_args

Status = Literal["ok", "no_answer", "timeout", "error"]
"""Of a grade.

ok         compared with the gold
no_answer  the prompt protocol's rule finds no answer, or an empty one
timeout    the comparison ran past its deadline, or would: a power like `9^{9^{9^{9}}}` that no
           computer finishes is recognised and refused at once
error      the answer is longer or nests deeper than any that may be right
           (`evals.grading.grader`), or its worker ran out of memory or died
"""
STATUSES: tuple[Status, ...] = get_args(Status)
FAILURES = STATUSES[1:]
"""The statuses of answers that were not compared."""
