"""Memory that is given back is not asked for again."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from kpo.common.allocator import keep_freed_memory
{call}
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(1 << 27)
    block[:] = bytes([1]) * len(block)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(("call", "kept"), [("keep_freed_memory()", True), ("", False)])
def test_pages_are_touched_for_the_first_time_once(call: str, *, kept: bool) -> None:
    program = [sys.executable, "-c", PROGRAM.format(call=call)]
    faults = int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    assert (faults < 1000) == kept  # of 65,536 pages, which the system may hand out in larger ones
