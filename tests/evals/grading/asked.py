"""What several tests of grading ask."""

from __future__ import annotations

import re
from pathlib import Path

# A comparison that nothing screens and that math-verify does not finish: it expands the power.
LINE, SLOW = "y=x+1", "y=(1+x+z)^{200}"


def boxed(answer: str) -> str:
    return f"I think it is \\boxed{{{answer}}}."


SPELLINGS = r"""0 -0 +0 00 1 -1 +1 01 -01 2 -2 3 03 +3 3. 3.0 1,000 1000 1,001 1/2 -1/2 0.5
    \frac{1}{2} -\frac{1}{2} \frac{-1}{2} -\frac{-1}{2} \frac{+1}{2} \dfrac{2}{4} \tfrac{01}{2}
    \frac12 \frac{0}{3} -\frac{0}{7} \frac{6}{2} -\frac{3}{3} \frac{3}{-3}
    \frac{1}{0} \frac{0}{0}"""

LONG = ["7" * 60, "7" * 59 + "8", "-" + "7" * 60, "0" + "7" * 60, "10" * 50, "5" * 99]

NUMBERS = [*re.split(r"\s+", SPELLINGS), *LONG]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
