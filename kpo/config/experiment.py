"""The experiment's settings: one closed, typed schema, checked before anything runs.

`load_experiment(path)` reads YAML, follows `extends`, and returns a frozen `Experiment`. Everything
wrong with the file is raised as `ConfigError`, one sentence a fault, naming the key, the value and
what is allowed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from evals.grading.rules import RULES
from kpo.common.files import sha256_path
from kpo.config.data import Data
from kpo.config.evaluate import Evaluate, Grading
from kpo.config.file import ConfigError, read_experiment_file, sentence
from kpo.config.limits import LEAST_POSITIONS, model_faults
from kpo.config.method import Method
from kpo.config.policy import Architecture, PretrainedPolicy, ScratchPolicy
from kpo.config.train import OPERATIONAL, Train
from kpo.config.values import (
    Distinct,
    ExperimentName,
    MethodName,
    Section,
)
from kpo.tasks.datasets.sources import SOURCES, Source
from kpo.tasks.problems import choose_folder, locate
from kpo.tasks.prompts import PROTOCOLS, Phase
from kpo.tasks.registry import make_task
from kpo.tasks.task import TRAIN, Part, Task

__all__ = ["ConfigError", "Experiment", "load_experiment"]


# What each stage of the pipeline depends on, beside what earlier stages made. The name of the
# experiment says where results lie. Of train, the base policy depends on gpus, but only for where
# it is made.
_STAGES = {
    "problems": (),
    "test_problems": (),
    "base": ("policy", "prompt"),
    "data": ("data",),
    "train": ("train", "prompt", "data", "grading"),
    "evaluate": ("evaluate", "prompt", "data"),
    "grade": ("grading",),
    "table": ("seeds", "methods", "evaluate"),
}
# Of a part that a stage depends on, the keys that do not matter to it.
_WITHOUT = {
    "train": {"train": OPERATIONAL},
    "evaluate": {"evaluate": OPERATIONAL},
    "table": {"evaluate": OPERATIONAL},
}


# Of the task, what a stage depends on; training and grading only where the task grades itself.
_PARTS: dict[str, Part] = {
    "problems": "train",
    "test_problems": "test",
    "base": "sft",
    "train": "grade",
    "grade": "grade",
}


def _task(value: Any) -> Any:
    return make_task(value) if isinstance(value, dict) else value


class Experiment(Section):
    """One experiment: a base policy, several methods, several seeds, one evaluation."""

    experiment: ExperimentName
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Distinct]
    prompt: str = Field(description="prompt protocol of training and evaluation")
    task: Annotated[SerializeAsAny[Task] | None, BeforeValidator(_task)] = None
    policy: Annotated[ScratchPolicy | PretrainedPolicy, Field(discriminator="kind")]
    data: Data = Data()
    train: Train
    evaluate: Evaluate
    grading: Grading = Grading()
    methods: Annotated[dict[MethodName, Method], Field(min_length=1)]

    @field_validator("prompt")
    @classmethod
    def _known_protocol(cls, value: str) -> str:
        if value not in PROTOCOLS:
            raise ValueError(f"must be one of {', '.join(PROTOCOLS)}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        labels = Counter(method.label for method in self.methods.values())
        if repeated := [label for label, count in labels.items() if count > 1]:
            raise ValueError(f"methods: the label {repeated[0]!r} stands at more than one method")
        if self.task is None:
            self._check_data()
        else:
            self._check_task()
        shape = self.policy if isinstance(self.policy, ScratchPolicy) else self.policy.architecture
        if shape is not None:
            positions = shape.positions if isinstance(shape, Architecture) else self.positions
            limits = {"positions": positions, "head_dim": shape.head_dim}
            if fault := next(model_faults(self.train, self.evaluate, **limits), None):
                raise ValueError(fault)
        return self

    def _check_task(self) -> None:
        assert self.task is not None
        if self.data != Data():
            raise ValueError("data: has no use beside task, which makes the problems; drop one")
        problems = self.task.size(TRAIN)
        if not self.train.total_steps(problems):
            raise ValueError(
                f"train.epochs ({self.train.epochs}) over {problems} problems is less than"
                f" one step of train.prompts ({self.train.prompts})"
            )
        if self.train.problems != TRAIN:
            raise ValueError(
                f"train.problems is {self.train.problems!r}, but must be {TRAIN!r}, the task's"
                " training problems"
            )
        for name in self.evaluate.benchmarks:
            if name not in self.task.tests:
                known = ", ".join(self.task.tests)
                raise ValueError(f"evaluate.benchmarks holds {name!r}, but the task's are {known}")
        if isinstance(self.policy, ScratchPolicy) and not self.task.has_own("worked"):
            raise ValueError(
                f"task: {self.task.kind} has no worked solutions, from which a policy of kind"
                " scratch learns"
            )
        longest = self._task_prompt(self.task, "training")
        if longest > self.train.max_prompt_tokens:
            raise ValueError(
                f"train.max_prompt_tokens is {self.train.max_prompt_tokens}, but must be at least"
                f" {longest}, the task's longest prompt under prompt {self.prompt}"
            )

    def _check_data(self) -> None:
        """Every data set is known, and where it is to come from a folder, its file is there."""
        if isinstance(self.policy, ScratchPolicy):
            raise ValueError("task: this key is missing; a policy of kind scratch learns from it")
        train, benchmarks = self._train_folder, self._benchmarks_folder
        wanted = [("train.problems", self.train.problems, train)]
        wanted += [("evaluate.benchmarks", name, benchmarks) for name in self.evaluate.benchmarks]
        for key, name, folder in wanted:
            try:
                locate(name, folder=folder, sources=self.data.sources)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from error
        if benchmarks is not None and benchmarks.is_file() and len(self.evaluate.benchmarks) > 1:
            raise ValueError(f"evaluate.benchmarks: one file, {benchmarks}, cannot hold them all")

    def section(self, stage: str, method: str | None = None) -> dict[str, Any]:
        """The settings that a stage of the pipeline depends on: a change reruns just that stage.

        Local files and folders stand there by the hash of their content, wherever they lie and
        whatever names them. Of the data section these are the stage's own data sets; of a method
        (for train) all but its label.
        """
        dump = self.model_dump(mode="json", include=set(_STAGES[stage]))
        for part, keys in _WITHOUT.get(stage, {}).items():
            dump[part] = dump[part] and {k: v for k, v in dump[part].items() if k not in keys}
        section: dict[str, Any] = {part: dump.get(part) for part in _STAGES[stage]}
        used = _PARTS.get(stage)
        if self.task is not None and used and (used != "grade" or self.grades_itself):
            section["task"] = self.task.section(used)
        if stage == "base" and isinstance(self.policy, ScratchPolicy):
            section["positions"] = self.positions
        elif stage == "base" and isinstance(self.policy, PretrainedPolicy):
            section = {"policy": {**section["policy"], "model": self.policy.content()}}
        elif stage == "data":
            section["data"] = self._data(self._train_folder, [self.train.problems])
            section["cleaning"] = self.data.cleaning()
        elif stage == "train":
            section["data"] = self._data(self._train_folder, [self.train.problems])
            if self.task is None:
                section["overlong"] = self.data.overlong
        elif stage == "evaluate":
            section["data"] = self._data(self._benchmarks_folder, self.evaluate.benchmarks)
        if method is not None:
            section["method"] = self.methods[method].resolved()
        return section

    @property
    def grades_itself(self) -> bool:
        """Whether the task brings a grade of its own, for rewards and for evaluation."""
        return self.task is not None and self.task.has_own("grade")

    @property
    def rule(self) -> str:
        """What stored grades say that they are by: grading.rule, or `task <kind>`."""
        return f"task {self.task.kind}" if self.task and self.grades_itself else self.grading.rule

    @property
    def other_rules(self) -> list[str]:
        """Rules whose verdicts grades hold where they differ; none beside a task's own grade."""
        return [] if self.grades_itself else [rule for rule in RULES if rule != self.rule]

    @property
    def _train_folder(self) -> Path | None:
        return choose_folder(self.data.train_folder, "KPO_TRAIN_PROBLEMS")

    @property
    def _benchmarks_folder(self) -> Path | None:
        return choose_folder(self.data.benchmarks_folder, "KPO_BENCHMARKS")

    def _data(self, folder: Path | None, names: list[str]) -> dict[str, Any]:
        """What stands for each data set: its place on the hub, or the hashes of its files."""
        if self.task is not None:
            return {}
        return {name: self._data_set(name, folder) for name in names}

    def _data_set(self, name: str, folder: Path | None) -> dict[str, Any]:
        place = locate(name, folder=folder, sources=self.data.sources)
        if isinstance(place, Source):
            return place.section()
        source = {**SOURCES, **self.data.sources}.get(name)  # says how rows are read
        files = [sha256_path(path) for path in place]
        return {"sha256_of_files": files, "source": source and source.section()}

    @property
    def positions(self) -> int:
        """Of a policy made from scratch: what the longest sequence takes, at least 256.

        They are rotary: their number limits sequences, but no weight depends on it.
        """
        prompt = self._task_prompt(self.task, "evaluation") if self.task else 0
        evaluated = prompt + self.evaluate.max_response_tokens
        return max(LEAST_POSITIONS, self.train.longest, evaluated)

    def _task_prompt(self, task: Task, phase: Phase) -> int:
        """Tokens of the task's longest prompt; the tokenizer's are characters."""
        protocol = PROTOCOLS[self.prompt]
        template = protocol.training if phase == "training" else protocol.evaluation
        return len(template.replace("{problem}", "")) + task.longest

    @property
    def runs(self) -> list[str]:
        """Names of all runs, `<method>-s<seed>`."""
        return [f"{method}-s{seed}" for method in self.methods for seed in self.seeds]


def load_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file. Raises ConfigError with a sentence for every fault."""
    path = Path(path)
    content = read_experiment_file(path)
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        own = (fault for fault in error.errors() if fault["type"] != "default_factory_not_called")
        faults = (f"{path}: {sentence(Experiment, fault)}" for fault in own)
        raise ConfigError("\n".join(faults)) from None
