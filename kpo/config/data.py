"""The settings of data sets: where problems come from, and what becomes of bad training rows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from kpo.config.values import Name, Section, Text
from kpo.tasks.datasets.sources import Source, with_known

Handling = Literal["drop", "refuse"]


class Data(Section):
    """Where problems come from: the hub, unless a folder of data files (or one file) is named."""

    train_folder: Text | None = None
    benchmarks_folder: Text | None = None
    sources: dict[Name, Source] = Field(
        {}, description="further hub data sets, by name, or changes to known ones"
    )
    duplicates: Handling = Field("drop", description="training rows that repeat an earlier one")
    contradictions: Handling = Field("drop", description="one problem with different golds")
    unusable_golds: Handling = Field("refuse", description="golds that nothing can be equal to")
    contamination: Literal["drop", "refuse", "keep"] = Field(
        "drop", description="training problems that a benchmark holds too; keep: not looked for"
    )
    overlong: Handling = Field("drop", description="prompts of more than train.max_prompt_tokens")

    @field_validator("sources", mode="before")
    @classmethod
    def _with_known(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: with_known(name, entry) for name, entry in value.items()}

    def cleaning(self) -> dict[str, str]:
        """What becomes of rows that are found bad without a tokenizer, by what is wrong."""
        faults = {"duplicates", "contradictions", "unusable_golds", "contamination"}
        return self.model_dump(include=faults)
