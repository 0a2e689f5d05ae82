"""The repository's experiment files: those that are described; others are their user's own."""

import re
from pathlib import Path

REPO = Path(__file__).parents[1]
NAMES = re.findall(
    r"^\| `([\w-]+\.yaml)` \|", (REPO / "workflow/config/README.md").read_text(), re.MULTILINE
)
CONFIGS = [REPO / "workflow/config" / name for name in NAMES]
