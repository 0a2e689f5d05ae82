"""A Slurm for all tests of this folder, which are skipped where it cannot be started."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, cluster, why_not

ASKED = "KPO_TEST_SLURM"
"""Set by `make test-slurm`: nothing else starts daemons and writes into /etc."""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if ASKED not in os.environ:
        pytest.skip("asked for by `make test-slurm`")
    if reason := why_not():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started
