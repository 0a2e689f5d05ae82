"""How commands end."""

from __future__ import annotations

import subprocess
import sys

ENDLESS = """
from kpo.common.cli import command

@command
def main():
    while True:
        print("a line")

main()
"""


def test_an_output_that_nobody_reads_on_ends_a_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"a line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
