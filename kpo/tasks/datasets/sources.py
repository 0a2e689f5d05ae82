"""Known data sets of problems with verifiable answers: where each lives and how to read a row.

Where public sources agree on a commit, the revision is that commit. The other sets are on `main`,
whatever that has become: the benchmarks among them carry the content hash of the rows that this
suite was checked with, and other rows are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kpo.evals.grading.golds import NORMALISERS


class Source(BaseModel):
    """A data set on the hub.

    `problem` and `answer` name columns; a dot goes into a column (`reward_model.ground_truth`). Of
    a chat, a list of turns with their roles, the problem is what the user said last.
    `answer_form` says how the gold stands in its column: `plain` (as it is), `hashes` (after the
    last ####, as in GSM8K), `boxed` (the last box of a worked solution), `first` (the first of a
    list of answers, or the answer itself).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    hub: str
    split: str
    subset: str | None = None
    revision: str = "main"
    problem: str = "problem"
    instruction: str | None = Field(
        None, description="text at the end of the problems that is the prompt's, and is taken off"
    )
    preamble: str | None = Field(
        None, description="text at the beginning of the problems that is the prompt's, taken off"
    )
    answer: str = "answer"
    answer_form: Literal["plain", "hashes", "boxed", "first"] = "plain"
    normaliser: str | None = Field(
        None, description="what makes its golds plain LaTeX, a key of NORMALISERS; null: they are"
    )
    size: Annotated[int, Field(ge=1)] | None = Field(
        None, description="problems it has, for plans; of dapo-math-17k, the distinct ones"
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="content hash of the rows, refused if it differs"
    )

    @field_validator("normaliser")
    @classmethod
    def _known_normaliser(cls, value: str | None) -> str | None:
        if value not in (None, *NORMALISERS):
            raise ValueError(f"must be one of {', '.join(NORMALISERS)}, or null")
        return value

    def section(self) -> dict[str, Any]:
        """What problems and golds depend on: all but the size, which is only told."""
        return self.model_dump(exclude={"size"})


_GSM8K: dict[str, Any] = {
    "hub": "openai/gsm8k",
    "subset": "main",
    "revision": "740312add88f781978c0658806c59bc2815b9866",
    "problem": "question",
    "answer_form": "hashes",
    "normaliser": "integers",
}
_AIME: dict[str, Any] = {"split": "train", "normaliser": "integers", "size": 30}

SOURCES: dict[str, Source] = {
    "gsm8k-train": Source(split="train", size=7473, **_GSM8K),
    "dapo-math-17k": Source(
        hub="aaabiao/dapo_filter",
        split="train",
        problem="prompt",
        instruction="Let's think step by step and output the final answer within \\boxed{}.",
        answer="reward_model.ground_truth",
        normaliser="integers",
        size=17_398,
    ),
    "aime24": Source(
        hub="HuggingFaceH4/aime_2024", revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a", **_AIME
    ),
    "aime25": Source(
        hub="MathArena/aime_2025", revision="c94da77eb22bbd6439e62a323bec18493a421302", **_AIME
    ),
    "amc23": Source(
        hub="knoveleng/AMC-23",
        split="train",
        normaliser="integers",
        size=40,
        sha256="b6b405c7eab010509124a364abe03d61fe8ee277407580522a3bcc55b61faed3",
    ),
    "math500": Source(
        hub="HuggingFaceH4/MATH-500",
        split="test",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        normaliser="strip",
        size=500,
    ),
    "minerva": Source(
        hub="zwhe99/simplerl-minerva-math",
        split="test",
        normaliser="minerva",
        size=272,
        sha256="5b969e8d5383a0205d5dfe4bbc87f62deeb49ba2773ea507e10fc6185948f9bf",
    ),
    "olympiadbench": Source(
        hub="realtreetune/olympiadbench",
        split="test",
        answer_form="first",
        normaliser="olympiadbench",
        size=675,
        sha256="ac10d378ab9c40399ef86684048382ce00e4afcee06857da9ffcfccfbb09f0ab",
    ),
    "gsm8k": Source(split="test", size=1319, **_GSM8K),
}


def with_known(name: str, entry: Any) -> Any:
    """An entry of the config's `data.sources`, completed.

    One without `hub` changes the known data set of that name, key by key (another revision, say);
    one with `hub` stands for itself, but for the normaliser: a known name has golds of its kind.
    """
    if name not in SOURCES or not isinstance(entry, Mapping):
        return entry
    known = SOURCES[name]
    if "hub" in entry:
        return {"normaliser": known.normaliser, **entry}
    another = "split" in entry or "subset" in entry
    return {**known.model_dump(exclude={"size"} if another else None), **entry}
