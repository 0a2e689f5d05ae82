"""Make a model folder with a card of a trained run, and upload it.

python -m kpo.export results/tiny/runs/gspo-s0
python -m kpo.export results/tiny/runs/gspo-s0 --push owner/name
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import command
from kpo.common.hub import Hub


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kpo.export",
        description="Make a model folder of a trained run, which transformers and `vllm serve`"
        " load: its weights and tokenizer, manifest.json, run.yaml with its settings, and a card"
        " with how it was trained, and how it scored where it was evaluated. Reads RUN, and of"
        " the experiment around it base/manifest.json and evals/<run>, if they are there.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="results/<experiment>/runs/<run>")
    parser.add_argument("--out", type=Path, help="folder to write (RUN/export)")
    parser.add_argument(
        "--push",
        metavar="REPO_ID",
        help="upload it to this model (owner/name) of the hub; public, if it is not there yet",
    )
    args = parser.parse_args(argv)
    out = args.out or args.run / "export"
    hub = Hub(args.push, "model") if args.push else None
    from kpo.evals.sharing.model import write_model  # noqa: PLC0415 - slow to import

    write_model(args.run, out, args.push or "owner/name")
    print(hub.upload(out) if hub else out)


if __name__ == "__main__":
    main()
