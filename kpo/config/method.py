"""A method of an experiment: a row of its table."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from kpo.common.source_code import code_hash
from kpo.config.train import OF_A_METHOD
from kpo.config.values import MethodName, Names, Section, Text, must
from kpo.objective import Objective, Role, role_of
from kpo.registry import make_objective, objective_class, settings_of


def _declared_role(objective: str) -> Role:
    """What an objective declares; anything where there is none, which is said by `Method`."""
    with suppress(ValueError):
        return role_of(objective_class(objective))
    return "baseline"


class Method(Section):
    """A row of the table: an objective with its settings (checked by the registry)."""

    model_config = ConfigDict(extra="allow")

    objective: str
    label: Text = Field(description="the row's name in tables; matches the paper's where it can")
    role: Role = Field(
        default_factory=lambda given: _declared_role(given["objective"]),
        description="what tables take the row for; else what the objective declares",
    )

    control: Names | tuple[()] = Field(
        (), description="rows or grids that this row is set against to show what its own part does"
    )
    train: Annotated[
        dict[str, Any],
        must(
            lambda given: given.keys() <= OF_A_METHOD,
            f"must hold no other keys than {', '.join(sorted(OF_A_METHOD))}",
        ),
    ] = Field({}, description="what this row has otherwise than the train section")
    family: MethodName | None = Field(None, description="the row whose grid has this point")
    at: dict[str, str] = Field({}, description="place in that grid, value by axis")

    @property
    def settings(self) -> dict[str, Any]:
        """What the objective is built with."""
        return dict(self.model_extra or {})

    def build(self) -> Objective:
        """The objective."""
        return make_objective(self.objective, **self.settings)

    def resolved(self) -> dict[str, Any]:
        """What training depends on: the objective's code and settings, defaults included."""
        objective = self.build()
        code = code_hash(type(objective).__module__)
        return {"objective": self.objective, **settings_of(objective), "code": code}

    @model_validator(mode="after")
    def _known_to_the_registry(self) -> Method:
        self.build()
        return self
