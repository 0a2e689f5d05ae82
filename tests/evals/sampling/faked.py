"""An engine that answers at once, for tests of sampling."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kpo.rollout.engine import Finished, Response, RolloutEngine, Sampling
from kpo.tasks.tokenizer import character_tokenizer

TOKENIZER = character_tokenizer()


class FakeEngine:
    """Answers with prompt and seed, the last prompt first; stops after `calls` problems."""

    generate = RolloutEngine.generate

    def __init__(self, calls: int = 10**9) -> None:
        self.calls = calls
        self.asked: list[tuple[str, int]] = []
        self.options: dict[str, Any] = {}
        self.samplings: list[Sampling] = []

    def stream(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[Finished]:
        self.samplings.append(sampling)
        for i in reversed(range(len(prompts))):
            if self.calls == 0:
                raise KeyboardInterrupt
            self.calls -= 1
            text = TOKENIZER.decode(list(prompts[i])).strip()
            self.asked += [(text, seeds[i] + j) for j in range(sampling.samples)]
            yield [(i, [self._answer(text, seeds[i] + j, j) for j in range(sampling.samples)])]

    def _answer(self, text: str, seed: int, j: int) -> Response:
        ids = TOKENIZER(f"{text} {seed}")["input_ids"] + [TOKENIZER.eos_token_id] * (j % 2)
        return Response(ids, [], "stop" if j % 2 else "length")

    def describe(self) -> dict[str, Any]:
        return {"name": "fake", "version": "1"}


Row = dict[str, Any]

Run = Callable[..., tuple[FakeEngine, list[Row]]]


def unfinished(out: Path) -> Path:
    return out.with_name(".samples.unfinished.jsonl")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")
