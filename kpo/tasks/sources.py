"""Known data sets of problems with verifiable answers: where each lives and how to read a row."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Source(BaseModel):
    """A data set on the hub.

    `answer_form` says how the gold stands in its column: `plain` (as it is), `hashes` (after the
    last ####, as in GSM8K), `boxed` (the last box of a worked solution), `first` (the first of a
    list of answers).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    hub: str
    split: str
    subset: str | None = None
    revision: str = "main"
    problem: str = "problem"
    answer: str = "answer"
    answer_form: Literal["plain", "hashes", "boxed", "first"] = "plain"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="content hash of the rows, refused if it differs"
    )


SOURCES: dict[str, Source] = {
    "gsm8k-train": Source(
        hub="openai/gsm8k", subset="main", split="train", problem="question", answer_form="hashes"
    ),
    "dapo-math-17k": Source(hub="aaabiao/dapo_filter", split="train"),
    "aime24": Source(hub="HuggingFaceH4/aime_2024", split="train"),
    "aime25": Source(hub="MathArena/aime_2025", split="train"),
    "amc23": Source(hub="knoveleng/AMC-23", split="train"),
    "math500": Source(hub="HuggingFaceH4/MATH-500", split="test"),
    "minerva": Source(
        hub="zwhe99/simplerl-minerva-math", split="test", answer="solution", answer_form="boxed"
    ),
    "olympiadbench": Source(
        hub="realtreetune/olympiadbench", split="test", answer="final_answer", answer_form="first"
    ),
    "gsm8k": Source(
        hub="openai/gsm8k", subset="main", split="test", problem="question", answer_form="hashes"
    ),
}
