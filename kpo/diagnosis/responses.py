"""A dump's rows as responses: tokens that are the response's, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kpo.diagnosis.cells import Mask, fault, is_list, number, numbers, token_mask
from kpo.diagnosis.columns import Columns
from kpo.diagnosis.reading import Dump
from kpo.diagnosis.survey import Cells, Survey, step_of, use_of
from kpo.series.ragged import Floats

ROUNDING = 1e-3
"""Nats above 0 that a log-prob may be by rounding."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response of T >= 1 tokens.

    Attributes:
        where: file and row.
        stage: third of the training.
        use: first or later.
        present: log pi [T], in nats.
        old: log pi_old [T].
        rollout: the sampling engine's log-probs [T], if the dump has them.
        advantages: divided by the group's standard deviation, and not; the same where the dump
            holds advantages.
        uneven: whether the advantages of its tokens differ; these are their mean then.
        step: of training, if the dump says.
        prompt: what stands in the prompt's column.
        tokens: texts or ids [T], if they were asked for.
    """

    where: str
    stage: str
    use: str
    present: Floats
    old: Floats
    rollout: Floats | None
    advantages: tuple[float, float]
    uneven: bool
    step: int | None
    prompt: str | None
    tokens: Sequence[str] | None

    @property
    def log_ratio(self) -> Floats:
        """z [T]."""
        return self.present - self.old


def responses(dump: Dump, columns: Columns, known: Survey, *, texts: bool) -> Iterator[Response]:
    """All responses in order, with tokens and prompt only if `texts`.

    Raises RolloutError for the first row that does not hold what it should.
    """
    roles = ["present", "old", "rollout", "advantage", "mask", "step", "use"]
    wanted = columns.of([*roles, *(["tokens", "prompt"] if texts else [])])
    for row, (where, cells) in enumerate(dump.rows(wanted)):
        made = None if known.advantages is None else known.advantages[row]
        yield _response(where, columns, cells, known, made)


def _response(
    where: str, columns: Columns, cells: Cells, known: Survey, made: Floats | None
) -> Response:
    name = columns["present"]
    assert name is not None
    length = len(numbers(where, name, cells[name]))
    mask = token_mask(where, columns["mask"], cells, length)
    if not mask.any():
        raise fault(where, columns["mask"] or name, "has no token", "a response of at least one")
    present, old, rollout = (
        _logprobs(where, columns[role], cells, mask) for role in ("present", "old", "rollout")
    )
    assert present is not None
    assert old is not None
    step = step_of(where, columns, cells)
    advantages, uneven = _advantages(where, columns, cells, mask, made)
    return Response(
        where=where,
        stage=known.stage(step),
        use=use_of(where, columns, cells),
        present=present,
        old=old,
        rollout=rollout,
        advantages=advantages,
        uneven=uneven,
        step=step,
        prompt=_prompt(columns["prompt"], cells),
        tokens=_tokens(where, columns["tokens"], cells, mask),
    )


def _logprobs(where: str, name: str | None, cells: Cells, mask: Mask) -> Floats | None:
    if name is None:
        return None
    values = numbers(where, name, cells[name], len(mask))[mask]
    good = np.isfinite(values) & (values <= ROUNDING)
    if not good.all():
        token = int(np.flatnonzero(mask)[~good][0])
        wanted = "log-probs, finite and at most 0" + ("" if mask.all() else ", where the mask is 1")
        raise fault(where, name, f"holds {values[~good][0]} at token {token}", wanted)
    return values


def _advantages(
    where: str, columns: Columns, cells: Cells, mask: Mask, made: Floats | None
) -> tuple[tuple[float, float], bool]:
    if made is not None:
        return (float(made[0]), float(made[1])), False
    name = columns["advantage"]
    assert name is not None
    if not is_list(cells[name]):
        own = number(where, name, cells[name])
        return (own, own), False
    values = numbers(where, name, cells[name], len(mask))[mask]
    if not np.isfinite(values).all():
        raise fault(
            where, name, "holds a NaN, infinite or missing advantage", "a finite one a token"
        )
    uneven = bool((values != values[0]).any())
    own = float(values.mean() if uneven else values[0])
    return (own, own), uneven


def _prompt(name: str | None, cells: Cells) -> str | None:
    """The prompt as a text; of a chat or of ids, as they stand there."""
    if name is None or name not in cells:
        return None
    value = cells[name]
    return value if isinstance(value, str) else str(list(value) if is_list(value) else value)


def _tokens(where: str, name: str | None, cells: Cells, mask: Mask) -> Sequence[str] | None:
    if name is None or name not in cells:
        return None
    value: Any = cells[name]
    if not is_list(value):
        raise fault(where, name, f"holds {value!r:.40}", "a list of texts or ids, one a token")
    if len(value) != len(mask):
        raise fault(
            where, name, f"holds {len(value)} tokens", f"{len(mask)}, as there are log-probs"
        )
    return [str(one) for one, own in zip(value, mask, strict=True) if own]
