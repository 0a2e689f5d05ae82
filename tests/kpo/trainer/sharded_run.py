"""A small training run under the launcher: `... sharded_run FOLDER SETTINGS` (JSON)."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from kpo.config.train import Train
from kpo.distributed.ranks import Ranks, join
from kpo.distributed.sharding import save_sharded, shard
from kpo.model.policy import recompute
from kpo.rollout.transformers import TransformersEngine
from tests.kpo.means import MEANS
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import EndlessEngine, tiny_trainer


def main() -> None:
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"launcher-{os.environ.get('RANK', '0')}").write_text(str(os.getppid()))
    each, nodes = settings.pop("ranks"), settings.pop("nodes", 1)
    train(join(gpus=0, ranks=each, nodes=nodes, stall_s=600.0), folder, settings)


def train(ranks: Ranks, folder: Path, settings: dict[str, Any]) -> None:
    """One rank's part of a run; `settings` are `tiny_trainer`'s, and an endless rollout's."""
    torch.set_num_threads(1)
    dtype = settings.get("dtype", Train.model_fields["dtype"].default)
    engine = TransformersEngine(tiny_policy(seed=3))
    endless = settings.pop("endless_ranks", range(ranks.size))
    if (after := settings.pop("endless_after", None)) is not None and ranks.rank in endless:
        engine = EndlessEngine(engine.policy, folder / f"endless-{ranks.rank}", after)
    if (mean := settings.get("objective")) in MEANS:
        settings["objective"] = MEANS[mean]
    policy = shard(tiny_policy(seed=3), ranks, dtype)
    if settings.get("activation_checkpointing"):
        recompute(policy.model)
    trainer = tiny_trainer(folder, policy=policy, engine=engine, ranks=ranks, **settings)
    trainer.train()
    masters = {str(weight.dtype) for weight in policy.model.parameters()}
    (folder / f"masters-{ranks.rank}").write_text(" ".join(masters))
    save_sharded(policy, folder / "model", ranks, dtype)


if __name__ == "__main__":
    main()
