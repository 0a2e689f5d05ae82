"""The embedded task's problems by default, which the reference results were made with."""

import hashlib
from pathlib import Path

from kpo.tasks.chained_sums import ChainedSums
from kpo.tasks.generate import write_problems

SHA256 = {
    "train": "d6d585fffc0d018bddb7cf8fb240213ebe8cf5ccfe828a5f82acb2ec7bcfe2fd",
    "easy": "6694dbe89abfe61ca87a7f2382e6256f1f1f619f2d18253067bf3d877a719dc3",
    "medium": "e8feb44a041d309fd342c07fb9727525f6e061692fce8bc6c7c846751745ed7f",
    "hard": "f6f6deedf0279cd22d1d70faea180423b55b5fb37531e9fcb57900e361325062",
}


def test_they_are_the_ones_of_the_reference_results(tmp_path: Path) -> None:
    """Content hashes: a change of how they are drawn makes other problems."""
    write_problems(ChainedSums(), tmp_path)
    found = {name: hashlib.sha256((tmp_path / f"{name}.jsonl").read_bytes()) for name in SHA256}
    assert {name: digest.hexdigest() for name, digest in found.items()} == SHA256
