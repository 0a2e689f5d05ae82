"""All figures of a dump, by stage of training and use of the responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kpo.diagnosis.effect import Effect, padded
from kpo.diagnosis.ratios import Ratios
from kpo.diagnosis.responses import Response
from kpo.diagnosis.survey import ANY
from kpo.objective import Objective
from kpo.series.places import STAGES, USES
from kpo.series.ragged import Portions, Ragged
from kpo.series.table import Measured, measured_at

PRESENT, MISMATCH = "present - old", "old - rollout"
"""Of which log-probs the ratios are."""


@dataclass
class Place:
    """What is added up of one stage and use."""

    stage: str
    use: str
    methods: Mapping[str, Objective]
    measured: Measured = field(init=False)
    ratios: dict[str, Ratios] = field(default_factory=dict)
    effects: dict[str, Effect] = field(init=False)
    portions: Portions[Response] = field(default_factory=Portions)

    def __post_init__(self) -> None:
        self.measured = measured_at(self.stage, self.use)
        self.effects = {name: Effect() for name in self.methods}

    def add(self, response: Response) -> None:
        """Add a response; figures are added up portion by portion."""
        self._look(self.portions.add(response, len(response.present)))

    def _look(self, rows: list[Response]) -> None:
        if not rows:
            return
        self.measured.add(Ragged.of([one.log_ratio for one in rows if self._measures(one)]))
        self._ratios(PRESENT).add(Ragged.of([one.log_ratio for one in rows]))
        gaps = [one.old - one.rollout for one in rows if one.rollout is not None]
        if gaps:
            self._ratios(MISMATCH).add(Ragged.of(gaps))
        batches = padded(rows)
        for name, objective in self.methods.items():
            self.effects[name].add(objective, batches)

    def _measures(self, response: Response) -> bool:
        """A response without an advantage moves nothing: no pass over it makes a later one."""
        return self.use != "later" or response.advantages[0] != 0

    def _ratios(self, name: str) -> Ratios:
        return self.ratios.setdefault(name, Ratios())

    def found(self) -> Found:
        """The figures of all that was added."""
        self._look(self.portions.take())
        rows = self.measured.rows()
        structure = {row.pop("what"): row for row in rows}
        ratios = {name: one.summary() for name, one in self.ratios.items()}
        effects = {name: one.summary() for name, one in self.effects.items()}
        return Found(self.stage, self.use, structure, ratios, effects)


Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Found:
    """Figures by name, of one stage and use.

    Attributes:
        structure: of the log-ratios as measured, shuffled, with random signs, and in the paper.
        ratios: see `kpo.diagnosis.ratios`.
        effects: of each objective.
    """

    stage: str
    use: str
    structure: Figures
    ratios: Figures
    effects: Figures

    def records(self) -> Iterator[dict[str, str | float]]:
        """A row for each figure."""
        tables = {"structure": self.structure, "ratios": self.ratios, "objectives": self.effects}
        for table, subjects in tables.items():
            for subject, figures in subjects.items():
                for name, value in figures.items():
                    place = {"stage": self.stage, "use": self.use, "table": table}
                    yield {**place, "of": subject, "figure": name, "value": value}


def diagnose(responses: Iterable[Response], methods: Mapping[str, Objective]) -> list[Found]:
    """The figures of each stage and use that there is, in the order of training."""
    places: dict[tuple[str, str], Place] = {}
    for response in responses:
        key = response.stage, response.use
        if key not in places:
            places[key] = Place(*key, methods)
        places[key].add(response)
    order = [(stage, use) for stage in (*STAGES, ANY) for use in (*USES, ANY)]
    return [places[key].found() for key in order if key in places]
