"""A trained run as a model folder for others: weights, tokenizer, manifest, and a card.

It is the run's own folder in Hugging Face format, so transformers and vLLM read it as evaluation
here did.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kpo.common.cli import UserError
from kpo.common.files import write_text
from kpo.common.hub import CARD, card_folder, front_matter
from kpo.common.text import number
from kpo.evals.metrics import avg_at_k, pass_at_k
from kpo.evals.records import read_grades
from kpo.evals.table.manifests import parsed, read_manifest
from kpo.evals.table.rewards import collapsed, rewards
from kpo.model.policy import weights_hash
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.guards.learning import stood_still

KEPT = {"manifest.json": "manifest.json", "config.yaml": "run.yaml"}
"""Files of a run that go with its model, and their names there."""
SCRATCH = "scratch"
"""Origin of a base policy that was made by the suite itself."""


@dataclass(frozen=True)
class Trained:
    """What a card tells of a run.

    Attributes:
        origin: where its base came from, None where that is not known.
        settings: of its objective, with its name.
        scores: (avg@k, pass@k, k) by benchmark, none where it was not evaluated.
        engine: with which it was evaluated.
    """

    name: str
    manifest: Mapping[str, Any]
    origin: str | None
    settings: Mapping[str, Any]
    collapsed: bool
    scores: Mapping[str, tuple[float, float, int]]
    engine: Mapping[str, Any]


def write_model(run: Path, out: Path, repo_id: str) -> None:
    """Write the model's folder, whose card calls it `repo_id`.

    Raises UserError for a run that is not finished, or whose model is not that of its manifest.
    """
    trained = read_run(run)
    with card_folder(out) as folder:
        for path in (run / "model").iterdir():
            if not path.name.startswith("."):
                shutil.copyfile(path, folder / path.name)
        for name, there in KEPT.items():
            if (run / name).is_file():
                shutil.copyfile(run / name, folder / there)
        write_text(folder / CARD, _header(trained), "\n".join(_body(trained, repo_id)), "\n")


def read_run(run: Path) -> Trained:
    """What a run's folder, and the experiment's around it, say. Raises as `write_model` does."""
    path = run / "manifest.json"
    if not path.is_file():
        raise UserError(f"{run}: no finished run: it has no manifest.json")
    manifest = read_manifest(path, "learning", "prompt")
    if weights_hash(run / "model") != manifest.get("weights"):
        raise UserError(f"{run}: model/ holds other weights than its manifest.json names")
    experiment, written, steps = run.resolve().parents[1], {}, []
    if (run / "config.yaml").is_file():
        written = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    if (run / "metrics.jsonl").is_file():
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    base = experiment / "base/manifest.json"
    known = parsed(base) if base.is_file() else {}
    evaluated = experiment / "evals" / run.resolve().name
    scores, engine = _evaluation(evaluated, str(manifest["weights"]))
    return Trained(
        name=f"{manifest['experiment']}, {run.resolve().name}",
        manifest=manifest,
        origin=known.get("origin") if known.get("weights") == manifest.get("base") else None,
        settings={k: v for k, v in written.get("method", {}).items() if k != "code"},
        collapsed=collapsed(rewards(steps)),
        scores=scores,
        engine=engine,
    )


def _evaluation(
    folder: Path, weights: str
) -> tuple[dict[str, tuple[float, float, int]], Mapping[str, Any]]:
    """Scores by benchmark, and the engine; nothing where there are none of these weights."""
    if not all((folder / name).is_file() for name in ("manifest.json", "grades.jsonl")):
        return {}, {}
    manifest = read_manifest(folder / "manifest.json", "protocol")
    if manifest.get("model") != weights:
        return {}, {}
    answers: dict[str, dict[str, list[bool]]] = {}
    for row in read_grades(folder / "grades.jsonl"):
        answers.setdefault(row.benchmark, {}).setdefault(row.id, []).append(row.correct)
    scores = {}
    for benchmark, problems in answers.items():
        correct = np.array(list(problems.values()))
        k = correct.shape[1]
        scores[benchmark] = (100 * avg_at_k(correct), 100 * pass_at_k(correct, k), k)
    return scores, manifest["protocol"].get("engine", {})


def _header(trained: Trained) -> str:
    model, _, commit = (trained.origin or "").partition("@")
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": benchmark, "type": benchmark},
            "metrics": [
                {"type": f"avg@{k}", "value": round(avg, 2)},
                {"type": f"pass@{k}", "value": round(solved, 2)},
            ],
        }
        for benchmark, (avg, solved, k) in trained.scores.items()
    ]
    return front_matter(
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=model if commit else None,
        tags=["reinforcement-learning", "grpo", "kpo", "arxiv:2602.10609"],
        **{"model-index": results and [{"name": trained.name, "results": results}]},
    )


def _body(trained: Trained, repo_id: str) -> Iterator[str]:
    manifest, learning = trained.manifest, trained.manifest["learning"]
    train = manifest.get("settings", {}).get("train", {})
    objective = trained.settings.get("objective", manifest.get("method"))
    own = {k: v for k, v in trained.settings.items() if k != "objective"}
    told = ", ".join(f"{name} {number(value) or 'none'}" for name, value in own.items())
    origins = {None: "a base policy", SCRATCH: "a small base policy of the suite's own"}
    yield f"\n# {trained.name}\n"
    yield (
        f"Trained from {origins.get(trained.origin, trained.origin)} with the objective"
        f" `{objective}`{f' ({told})' if told else ''}, seed {manifest.get('seed')},"
        f" {learning['steps']} steps of {train.get('prompts')} prompts with {train.get('group')}"
        f" responses, learning rate {number(train.get('lr'))}, by the suite for KPO"
        " (arXiv 2602.10609). Settings, code, versions, hardware and times are in `manifest.json`."
    )
    if trained.collapsed:
        yield "\n**This run collapsed**: its reward fell below half of what it began with."
    if sentence := stood_still(learning):
        yield f"\n**This run learnt nothing**: {sentence}."
    if trained.scores:
        yield "\n| benchmark | avg@k | pass@k | k |\n| :-- | --: | --: | --: |"
        for name, (avg, solved, k) in trained.scores.items():
            yield f"| {name} | {avg:.1f} | {solved:.1f} | {k} |"
        yield "\nIn %, of this run alone: what another seed would change is not in them."
    yield from _usage(trained, repo_id)


def _usage(trained: Trained, repo_id: str) -> Iterator[str]:
    """How it is asked, and loaded, as it was in evaluation."""
    prompt = trained.manifest["prompt"]
    dtype = trained.engine.get("dtype", "auto")
    yield "\n## Use\n"
    if known := PROTOCOLS.get(str(prompt.get("name"))):
        wrapped = " inside the tokenizer's chat template" if prompt["chat_template_sha256"] else ""
        yield f"A problem is asked by the protocol `{known.name}`{wrapped}:\n"
        yield f"```python\nprompt = {known.evaluation!r}.replace('{{problem}}', problem)\n```\n"
    yield "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
    yield f'model = AutoModelForCausalLM.from_pretrained("{repo_id}", dtype="{dtype}")'
    yield f'tokenizer = AutoTokenizer.from_pretrained("{repo_id}")\n```\n'
    yield f"```sh\nvllm serve {repo_id} --dtype {dtype} --generation-config vllm\n```"
