"""A page of a table, a document or a manifest, complete in one HTML file.

python -m evals.page results/tiny/differences.csv --title "tiny: differences" --out page.html
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kpo.common.cli import command
from kpo.common.files import write_text
from kpo.evals.pages.files import page


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.page",
        description="Write an HTML page, complete in one file, of a CSV, Markdown or JSON file.",
    )
    parser.add_argument("file", type=Path, help=".csv, .md or .json, read")
    parser.add_argument("--title", required=True, help="the page's heading")
    parser.add_argument("--out", type=Path, required=True, help="HTML file, written")
    args = parser.parse_args(argv)
    write_text(args.out, page(args.file, args.title))


if __name__ == "__main__":
    main()
