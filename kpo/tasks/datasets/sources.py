"""Known data sets of problems with verifiable answers: where each lives and how to read a row.

Where public sources agree on a commit, the revision is that commit. The other sets are on `main`,
and the three benchmarks among them carry the content hash of the rows that this suite was checked
with, so that whatever `main` has become, other rows are refused; manifests record the commit that
was resolved. Columns are those that the authors' preparation script reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="content hash of the rows, refused if it differs"
    )


_GSM8K: dict[str, Any] = {
    "hub": "openai/gsm8k",
    "subset": "main",
    "revision": "740312add88f781978c0658806c59bc2815b9866",
    "problem": "question",
    "answer_form": "hashes",
}

SOURCES: dict[str, Source] = {
    "gsm8k-train": Source(split="train", **_GSM8K),
    "dapo-math-17k": Source(
        hub="aaabiao/dapo_filter",
        split="train",
        problem="prompt",
        instruction="Let's think step by step and output the final answer within \\boxed{}.",
        answer="reward_model.ground_truth",
    ),
    "aime24": Source(
        hub="HuggingFaceH4/aime_2024",
        split="train",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
    ),
    "aime25": Source(
        hub="MathArena/aime_2025",
        split="train",
        revision="c94da77eb22bbd6439e62a323bec18493a421302",
    ),
    "amc23": Source(
        hub="knoveleng/AMC-23",
        split="train",
        sha256="b6b405c7eab010509124a364abe03d61fe8ee277407580522a3bcc55b61faed3",
    ),
    "math500": Source(
        hub="HuggingFaceH4/MATH-500",
        split="test",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    ),
    "minerva": Source(
        hub="zwhe99/simplerl-minerva-math",
        split="test",
        sha256="5b969e8d5383a0205d5dfe4bbc87f62deeb49ba2773ea507e10fc6185948f9bf",
    ),
    "olympiadbench": Source(
        hub="realtreetune/olympiadbench",
        split="test",
        answer_form="first",
        sha256="ac10d378ab9c40399ef86684048382ce00e4afcee06857da9ffcfccfbb09f0ab",
    ),
    "gsm8k": Source(split="test", **_GSM8K),
}


def with_known(name: str, entry: Any) -> Any:
    """An entry of the config's `data.sources`, completed.

    One without `hub` changes the known data set of that name, key by key (another revision, say);
    one with `hub` stands for itself.
    """
    if name in SOURCES and isinstance(entry, Mapping) and "hub" not in entry:
        return {**SOURCES[name].model_dump(), **entry}
    return entry
