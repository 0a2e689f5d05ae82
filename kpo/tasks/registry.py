"""Kind -> task: the one place that knows the tasks. Adding one: one file, one line here; or, from
a package of one's own, an entry point of the group `kpo.tasks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpo.common.plugins import find
from kpo.tasks.chained_sums import ChainedSums
from kpo.tasks.sorting import Sorting
from kpo.tasks.task import TRAIN, Task

TASKS: dict[str, type[Task]] = {
    "chained_sums": ChainedSums,
    "sorting": Sorting,
}
GROUP = "kpo.tasks"
"""Entry points by which other packages offer tasks."""
DEFAULT = "chained_sums"
"""The kind of a `task` section that names none."""


def make_task(settings: Mapping[str, Any]) -> Task:
    """The task that a `task` section describes, by its `kind` and settings.

    Raises ValueError for an unknown kind, a setting that the task does not have, one out of bounds,
    and sets that cannot be told apart; the message lists what there is.
    """
    kind = settings.get("kind", DEFAULT)
    made = find(kind, TASKS, GROUP, "kind")
    if not (isinstance(made, type) and issubclass(made, Task)):
        raise ValueError(f"{kind}: {made!r} is no subclass of kpo.tasks.task.Task")
    known = list(made.model_fields)
    for key in settings:
        if key not in known:
            raise ValueError(f"{kind} has no setting {key!r}; it has {', '.join(known)}")
    task = made.model_validate({**settings, "kind": kind})
    if not task.tests or len(set(task.sets)) < len(task.sets):
        raise ValueError(
            f"{kind} must have test sets with names of their own, other than {TRAIN}, but has"
            f" {', '.join(task.tests) or 'none'}"
        )
    return task
