"""Is there anything to filter in my run, and what would each objective drop? Asked of a dump.

    python -m kpo.diagnose dump.parquet --html page.html --out figures.csv

Reads log-probs of the present and the old policy, token by token, from any framework's run, and
prints structure of the log-ratios beside what chance gives, effective sample sizes, and for every
objective which share of the tokens it clips and which share of the gradient it drops.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kpo.common.cli import UserError, command
from kpo.diagnosis.columns import ROLES, given_columns
from kpo.diagnosis.recipes import TRL, VERL

DESCRIPTION = """\
Look into rollouts of a run: structure of the log-ratios by use of the responses and stage of
training, beside shuffled tokens, random signs and the paper's figures; effective sample sizes;
mismatch of the sampling engine; and of every objective which share of tokens it clips and which
share of the gradient it drops: of the sizes |A| / T (|A| for a mean over tokens) that tokens have
in the on-policy gradient, the share of those whose derivative is exactly 0.

A dump is a Parquet file, JSON lines (also gzipped), a folder of such files, or a folder that
save_to_disk of Hugging Face's datasets made; one row a response. Lists may be padded if a mask is
there. It is read twice, in portions: memory does not depend on its size.
"""


def _epilog() -> str:
    roles = "\n".join(
        f"  {name:10}{role.holds}\n{'':12}recognised: {', '.join(role.names)}"
        for name, role in ROLES.items()
    )
    return f"columns, by ROLE:\n{roles}\n\na dump of verl:\n\n{VERL}\na dump of TRL:\n\n{TRL}"


@command
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        "python -m kpo.diagnose",
        description=DESCRIPTION,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rollouts", type=Path, metavar="ROLLOUTS", help="file or folder, read")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="which column holds what, where its name is not recognised (may be repeated)",
    )
    parser.add_argument(
        "--config", help="experiment file (YAML) whose methods are looked at in place of all"
    )
    parser.add_argument("--out", type=Path, help="CSV file to write: a row for each figure")
    parser.add_argument(
        "--html", type=Path, help="page to write: the report, and some responses token by token"
    )
    args = parser.parse_args()
    for path in (args.out, args.html):
        if path is not None and path.is_dir():
            raise UserError(f"{path}: a folder; wanted is the name of a file to write")
    given = given_columns(args.column)
    if args.config is None:
        from kpo.registry import usual_objectives  # noqa: PLC0415

        methods = usual_objectives()
    else:
        from kpo.config.experiment import load_experiment  # noqa: PLC0415

        methods = {n: m.build() for n, m in load_experiment(args.config).methods.items()}
    import torch  # noqa: PLC0415

    from kpo.diagnosis.run import Asked, run  # noqa: PLC0415

    torch.set_num_threads(1)  # portions are small, and on a busy machine threads wait for threads

    run(args.rollouts, Asked(given, methods, args.out, args.html))


if __name__ == "__main__":
    main()
