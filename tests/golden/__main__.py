"""Compares every golden trace with the committed one; `--renew` commits today's in its place.

    python -m tests.golden
    python -m tests.golden --renew

Prints every number that changed. A change of a trace is explained in the commit that brings it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.golden.traces import (
    FOLDER,
    MADE_ON,
    TRACES,
    committed,
    differences,
    machine,
    make,
    trace_file,
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--renew", action="store_true", help="write today's traces")
    renew = parser.parse_args().renew
    here = machine()
    exact = renew or json.loads(MADE_ON.read_text()) == here
    changed = 0
    for name in TRACES:
        with TemporaryDirectory() as folder:
            rows = make(name, Path(folder))
        lines = differences(committed(name), rows, exact=exact)
        changed += bool(lines)
        for line in lines:
            print(f"{name}: {line}")
        if renew and lines:
            trace_file(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    if renew:
        MADE_ON.write_text(json.dumps(here, indent=2) + "\n")
        for path in FOLDER.glob("*.jsonl"):
            if path.stem not in TRACES:
                path.unlink()
    sys.stderr.write(f"{changed} of {len(TRACES)} traces {'renewed' if renew else 'differ'}\n")
    sys.exit(bool(changed) and not renew)


if __name__ == "__main__":
    main()
