"""What was heard of a training as a Parquet file, one row a response: for `kpo.diagnose`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from kpo.common.files import put_in_place
from kpo.model.policy import Policy
from kpo.series.record import Heard

_LOGPROBS = pa.list_(pa.float32())
SCHEMA = pa.schema(
    {
        "seed": pa.int64(),
        "step": pa.int64(),
        "use": pa.string(),
        "prompt": pa.string(),
        "tokens": pa.list_(pa.string()),
        "logprobs": _LOGPROBS,
        "old_logprobs": _LOGPROBS,
        "rollout_logprobs": _LOGPROBS,
        "advantage": pa.float32(),
    }
)


@contextmanager
def dump_to(path: Path) -> Iterator[Callable[[int, Policy, Heard], None]]:
    """Gives what adds the responses heard in the training of a seed; the file is there at the end.

    The policy's tokenizer makes texts of the tokens.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with parquet.ParquetWriter(partial, SCHEMA) as file:

        def add(seed: int, policy: Policy, heard: Heard) -> None:
            rows = _rows(policy, heard)
            file.write_table(pa.Table.from_pylist([{"seed": seed, **r} for r in rows], SCHEMA))

        yield add
    put_in_place(partial, path)


def _rows(policy: Policy, heard: Heard) -> Iterator[dict[str, Any]]:
    rollouts, batch = heard.rollouts, heard.batch
    decode = policy.tokenizer.batch_decode
    for i, row in enumerate(heard.rows):
        prompt, tokens = rollouts.prompts[row // rollouts.group], rollouts.responses[row].tokens
        T = len(tokens)
        yield {
            "step": heard.step,
            "use": heard.use,
            "prompt": "".join(decode([prompt.tokens])),
            "tokens": decode([[token] for token in tokens]),
            "logprobs": batch.logprobs[i, :T].detach().cpu().numpy(),
            "old_logprobs": batch.old_logprobs[i, :T].cpu().numpy(),
            "rollout_logprobs": rollouts.sampled_logprobs[row, :T].cpu().numpy(),
            "advantage": float(batch.advantages[i]),
        }
