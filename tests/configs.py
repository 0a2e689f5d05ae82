"""The repository's experiment files: those that are described; others are their user's own."""

import re
from pathlib import Path

REPO = Path(__file__).parents[1]
FIRST_CELLS = re.findall(
    r"^\| (`[^|]+`) \|", (REPO / "workflow/config/README.md").read_text(), re.MULTILINE
)
NAMES = [name for cell in FIRST_CELLS for name in re.findall(r"[\w-]+\.yaml", cell)]
CONFIGS = [REPO / "workflow/config" / name for name in NAMES]
