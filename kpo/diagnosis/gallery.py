"""The few responses of a dump that a page shows token by token, chosen while all go by."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kpo.common.text import number
from kpo.diagnosis.cells import Mask
from kpo.diagnosis.effect import look, padded
from kpo.diagnosis.responses import Response
from kpo.objective import Objective, role_of
from kpo.registry import make_objective
from kpo.series.measures import PAPER_Q
from kpo.series.ragged import Floats

EACH = 25
"""Responses chosen for their largest |z|, and as many more at random."""
WINDOW = 600
"""Tokens of a response that are shown at most, around its largest |z|."""
TEXT, PROMPT = 24, 4000
"""Characters that are shown of a token and of a prompt."""
LEVELS = 5
"""Shades of each sign."""
SCALED = 0.95
"""Share of the shown tokens whose size is not beyond the darkest shade."""
CONTROL = {**dict.fromkeys((*range(32), *range(127, 160)), "\ufffd"), 9: "⇥", 10: "⏎\n"}
"""What is shown for characters that a page cannot hold, or that show nothing."""

Ranked = tuple[float, int, Response]


@dataclass
class Gallery:
    """Chooses; of equal ones the first stay."""

    seed: int = 0
    largest: list[Ranked] = field(default_factory=list)
    drawn: list[Ranked] = field(default_factory=list)
    seen: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def add(self, response: Response) -> None:
        """Look at a response."""
        self.seen += 1
        ranks = float(np.abs(response.log_ratio).max()), float(self.rng.random())
        for chosen, rank in zip((self.largest, self.drawn), ranks, strict=True):
            heapq.heappush(chosen, (rank, -self.seen, response))
            if len(chosen) > EACH:
                heapq.heappop(chosen)

    def chosen(self) -> list[tuple[str, Response]]:
        """Why, and which: first those of the largest |z|, then others in order."""
        largest = [response for *_, response in sorted(self.largest, key=_first, reverse=True)]
        there = {one.where for one in largest}
        drawn = [one for *_, one in sorted(self.drawn, key=_place) if one.where not in there]
        return [("largest |z|", one) for one in largest] + [("at random", one) for one in drawn]


def _first(ranked: Ranked) -> tuple[float, int]:
    return ranked[:2]


def _place(ranked: Ranked) -> int:
    return -ranked[1]


@dataclass(frozen=True)
class Token:
    """A token as it is shown.

    Attributes:
        text: of the token, or its place.
        raw, filtered: log-ratios, in nats.
        levels: shades of both, 0 (negative) to 2 LEVELS (positive).
        dropped: numbers of the methods that drop it.
    """

    text: str
    raw: float
    filtered: float
    levels: tuple[int, int]
    dropped: Sequence[int]


@dataclass(frozen=True)
class Shown:
    """A response as it is shown: `first` is the place of the first of its tokens."""

    why: str
    response: Response
    first: int
    tokens: Sequence[Token]


@dataclass(frozen=True)
class Exhibition:
    """What is shown, and the |log-ratio| of the darkest shades: raw and filtered, in nats."""

    shown: Sequence[Shown]
    scales: tuple[float, float]


def filtering(methods: Mapping[str, Objective]) -> tuple[str, Objective]:
    """The method whose filter is shown: the first that is proposed, else KPO with the paper's q."""
    for name, one in methods.items():
        if role_of(one) == "proposed":
            return name, one
    return f"kpo, q {number(PAPER_Q)}", make_objective("kpo", q=PAPER_Q)


def exhibit(gallery: Gallery, methods: Mapping[str, Objective]) -> Exhibition:
    """The chosen responses, token by token."""
    _, kpo = filtering(methods)
    seen = [_Seen.of(why, one, kpo, methods) for why, one in gallery.chosen()]
    scales = _scale([one.raw for one in seen]), _scale([one.filtered for one in seen])
    return Exhibition([one.shown(scales) for one in seen], scales)


@dataclass(frozen=True)
class _Seen:
    """The window of a response: its log-ratios [W], and what each method drops [W, methods]."""

    why: str
    response: Response
    window: slice
    raw: Floats
    filtered: Floats
    dropped: Mask

    @classmethod
    def of(
        cls, why: str, response: Response, kpo: Objective, methods: Mapping[str, Objective]
    ) -> _Seen:
        batches, window = padded([response]), _window(response)
        output, _, _ = look(kpo, batches)
        gone = [look(method, batches)[2][0].numpy() for method in methods.values()]
        raw, filtered = response.log_ratio[window], output.log_ratio[0].numpy()[window]
        return cls(why, response, window, raw, filtered, np.stack(gone, 1)[window])

    def shown(self, scales: tuple[float, float]) -> Shown:
        levels = _levels(self.raw, scales[0]), _levels(self.filtered, scales[1])
        dropped = [np.flatnonzero(row).tolist() for row in self.dropped]
        texts = _texts(self.response)[self.window]
        numbers = self.raw.tolist(), self.filtered.tolist()
        parts = zip(texts, *numbers, zip(*levels, strict=True), dropped, strict=True)
        tokens = [Token(*part) for part in parts]
        return Shown(self.why, self.response, self.window.start, tokens)


def _window(response: Response) -> slice:
    z = np.abs(response.log_ratio)
    start = max(0, min(int(z.argmax()) - WINDOW // 2, len(z) - WINDOW))
    return slice(start, min(start + WINDOW, len(z)))


def _scale(parts: Sequence[Floats]) -> float:
    sizes = np.abs(np.concatenate([np.zeros(0), *parts]))
    sizes = sizes[sizes > 0]
    return float(np.quantile(sizes, SCALED)) if len(sizes) else 1.0


def _levels(values: Floats, scale: float) -> list[int]:
    found: list[int] = (
        np.rint(LEVELS * (values / scale).clip(-1, 1)).astype(int) + LEVELS
    ).tolist()
    return found


def plain(text: str, longest: int | None = None) -> str:
    """A text without what a page cannot hold, and cut off where it is longer."""
    whole = text.translate(CONTROL)
    return whole if longest is None or len(whole) <= longest else whole[:longest] + " …"


def _texts(response: Response) -> list[str]:
    """Tokens without what a page cannot hold."""
    if response.tokens is None:
        return [str(t) for t in range(len(response.present))]
    return [plain(token, TEXT) or "∅" for token in response.tokens]
