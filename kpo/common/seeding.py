"""What makes a run the same again: seeds, all derived in one way, and deterministic kernels."""

from __future__ import annotations

import hashlib
import os
import random


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^62) that depends on every part."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


def seed_generators(seed: int) -> None:
    """Seed the global generators: Python's, numpy's, and torch's on every device."""
    import numpy as np  # noqa: PLC0415 - seeds do without
    import torch  # noqa: PLC0415

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def ask_for_determinism() -> None:
    """Let torch use kernels that give the same bytes in every run; call it before CUDA is used.

    Without it a gradient on a GPU depends on the order in which its threads happen to add: flash
    attention's backward pass, cuBLAS with several streams, sums at repeated indices. An operation
    without a deterministic form then raises RuntimeError. NCCL, deterministic for one set of ranks
    and links, is not asked, nor vLLM, whose samples may depend on which requests it reads together.
    """
    import torch  # noqa: PLC0415 - seeds do without

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
