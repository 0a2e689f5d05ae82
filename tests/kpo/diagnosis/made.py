"""Responses of which only the log-ratios matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kpo.diagnosis.responses import Response


def response(
    z: Sequence[float],
    advantage: float,
    centred: float | None = None,
    where: str = "here",
    tokens: Sequence[str] | None = None,
    prompt: str | None = None,
) -> Response:
    """A response with exactly these log-ratios."""
    return Response(
        where=where,
        stage="all",
        use="all",
        present=np.array(z),
        old=np.zeros(len(z)),
        rollout=None,
        advantages=(advantage, advantage if centred is None else centred),
        uneven=False,
        step=None,
        prompt=prompt,
        tokens=tokens,
    )
