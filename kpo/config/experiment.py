"""The experiment's settings: one closed, typed schema, checked before anything runs.

`load_experiment(path)` reads YAML, follows `extends`, and returns a frozen `Experiment`. Everything
wrong with the file is raised as `ConfigError`, one sentence a fault, naming the key, the value and
what is allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, NonNegativeInt, SerializeAsAny, ValidationError

from kpo.common.files import sha256_path
from kpo.config.compare import DEFAULT, Compare, Pair, declared, faults
from kpo.config.data import Data
from kpo.config.evaluate import Evaluate, Grading
from kpo.config.file import ConfigError, read_experiment_file, sentence
from kpo.config.grid import expand
from kpo.config.limits import LEAST_POSITIONS, model_faults
from kpo.config.method import Method
from kpo.config.policy import Architecture, PretrainedPolicy, ScratchPolicy
from kpo.config.train import OPERATIONAL, Train
from kpo.config.values import Distinct, ExperimentName, MethodName, Section, one_of
from kpo.evals.grading.rules import RULES
from kpo.tasks.datasets.sources import SOURCES, Source
from kpo.tasks.problems import choose_folder, locate
from kpo.tasks.prompts import PROTOCOLS, Phase
from kpo.tasks.registry import make_task
from kpo.tasks.task import TRAIN, Part, Task

# What each stage of the pipeline depends on, beside what earlier stages made: sections (the name of
# the experiment only says where results lie) and a part of the task, training and grading only on
# that of a task that grades itself. Of train, the base policy depends on gpus, but only for where
# it is made.
_STAGES: dict[str, tuple[tuple[str, ...], Part | None]] = {
    "problems": ((), "train"),
    "test_problems": ((), "test"),
    "base": (("policy", "prompt"), "sft"),
    "data": (("data",), None),
    "train": (("train", "prompt", "data", "grading"), "grade"),
    "evaluate": (("evaluate", "prompt", "data"), None),
    "grade": (("grading",), "grade"),
    "table": (("seeds", "methods", "compare", "evaluate"), None),
}


def _task(value: Any) -> Any:
    return make_task(value) if isinstance(value, dict) else value


class Experiment(Section):
    """One experiment: a base policy, several methods, several seeds, one evaluation."""

    experiment: ExperimentName
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1), Distinct]
    prompt: Annotated[str, one_of(PROTOCOLS)] = Field(
        description="prompt protocol of training and evaluation"
    )
    task: Annotated[SerializeAsAny[Task] | None, BeforeValidator(_task)] = None
    policy: Annotated[ScratchPolicy | PretrainedPolicy, Field(discriminator="kind")]
    data: Data = Data()
    train: Train
    evaluate: Evaluate
    grading: Grading = Grading()
    methods: Annotated[dict[MethodName, Method], Field(min_length=1), BeforeValidator(expand)]
    compare: list[Compare] = DEFAULT

    def _faults(self) -> Iterator[str]:
        labels = Counter(method.label for method in self.methods.values())
        for label in (label for label, count in labels.items() if count > 1):
            yield f"methods: the label {label!r} stands at more than one method"
        yield from faults(self.methods, self.compare if "compare" in self.model_fields_set else ())
        for name, method in self.methods.items():
            try:
                self.train_of(name)
            except ValidationError as error:
                place = f"methods.{method.family or name}."
                for fault in error.errors():
                    fault["loc"] = ("train", *fault["loc"])
                    yield place + sentence(Experiment, fault)
        yield from self._data_faults() if self.task is None else self._task_faults(self.task)
        shape = self.policy if isinstance(self.policy, ScratchPolicy) else self.policy.architecture
        if shape is not None:
            positions = shape.positions if isinstance(shape, Architecture) else self.positions
            yield from model_faults(self.train, self.evaluate, positions, shape.head_dim)

    def _task_faults(self, task: Task) -> Iterator[str]:
        if self.data != Data():
            yield "data: has no use beside task, which makes the problems; drop one"
        problems = task.size(TRAIN)
        if not self.train.total_steps(problems):
            yield (
                f"train.epochs ({self.train.epochs}) over {problems} problems is less than"
                f" one step of train.prompts ({self.train.prompts})"
            )
        if self.train.problems != TRAIN:
            yield (
                f"train.problems is {self.train.problems!r}, but must be {TRAIN!r}, the task's"
                " training problems"
            )
        for name in self.evaluate.benchmarks:
            if name not in task.tests:
                known = ", ".join(task.tests)
                yield f"evaluate.benchmarks holds {name!r}, but the task's are {known}"
        if isinstance(self.policy, ScratchPolicy) and not task.has_own("worked"):
            yield (
                f"task: {task.kind} has no worked solutions, from which a policy of kind scratch"
                " learns"
            )
        longest = self._task_prompt("training")
        if longest > self.train.max_prompt_tokens:
            yield (
                f"train.max_prompt_tokens is {self.train.max_prompt_tokens}, but must be at least"
                f" {longest}, the task's longest prompt under prompt {self.prompt}"
            )

    def _data_faults(self) -> Iterator[str]:
        """Of data sets that are not known, or whose file in the folder is not there."""
        if isinstance(self.policy, ScratchPolicy):
            yield "task: this key is missing; a policy of kind scratch learns from it"
        for key, training in (("train.problems", True), ("evaluate.benchmarks", False)):
            try:
                self._places(training=training)
            except ValueError as error:
                yield f"{key}: {error}"

    def section(self, stage: str, method: str | None = None) -> dict[str, Any]:
        """The settings that a stage of the pipeline depends on: a change reruns just that stage.

        Local files and folders stand there by the hash of their content, wherever they lie and
        whatever names them. Of the data section these are the stage's own data sets; of a method
        (for train) all but its label.
        """
        parts, of_task = _STAGES[stage]
        without = {"train": OPERATIONAL, "evaluate": OPERATIONAL}
        dump = self.model_dump(mode="json", include=set(parts), exclude=without)
        section: dict[str, Any] = {part: dump[part] for part in parts}
        if "data" in parts:
            places = {} if self.task else self._places(training=stage != "evaluate")
            section["data"] = {name: self._content(name, place) for name, place in places.items()}
        if self.task is not None and of_task and (of_task != "grade" or self.grades_itself):
            section["task"] = self.task.section(of_task)
        if stage == "base" and isinstance(self.policy, PretrainedPolicy):
            section = {"policy": {**section["policy"], "model": self.policy.content()}}
        elif stage == "base":
            section["positions"] = self.positions
        elif stage == "data":
            section["cleaning"] = self.data.cleaning()
        elif stage == "train" and self.task is None:
            section["overlong"] = self.data.overlong
        if method is not None:
            train = self.train_of(method).model_dump(mode="json", exclude=OPERATIONAL)
            section["train"] = train
            section["method"] = self.methods[method].resolved()
        return section

    def train_of(self, method: str) -> Train:
        """The training settings of a method: the section's, but for what its row has otherwise."""
        own = self.methods[method].train
        return Train.model_validate({**self.train.model_dump(), **own}) if own else self.train

    def only(self, method: str) -> Experiment:
        """The experiment as if this were its one method."""
        row = {method: self.methods[method]}
        return self.model_copy(update={"train": self.train_of(method), "methods": row})

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

    def _places(self, *, training: bool) -> dict[str, list[Path] | Source]:
        """Where the data sets of training or evaluation are; raises ValueError for no place."""
        data, names = self.data, self.evaluate.benchmarks
        folder = choose_folder(data.benchmarks_folder, "KPO_BENCHMARKS")
        if training:
            names = [self.train.problems]
            folder = choose_folder(data.train_folder, "KPO_TRAIN_PROBLEMS")
        if folder is not None and folder.is_file() and len(names) > 1:
            raise ValueError(f"one file, {folder}, cannot hold them all")
        return {name: locate(name, folder=folder, sources=data.sources) for name in names}

    def _content(self, name: str, place: list[Path] | Source) -> dict[str, Any]:
        """What stands for a data set: its place on the hub, or the hashes of its files."""
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
        evaluated = self._task_prompt("evaluation") + self.evaluate.max_response_tokens
        return max(LEAST_POSITIONS, self.train.longest, evaluated)

    def _task_prompt(self, phase: Phase) -> int:
        """Tokens of the task's longest prompt; the tokenizer's are characters."""
        if self.task is None:
            return 0
        template = getattr(PROTOCOLS[self.prompt], phase)
        return len(template.replace("{problem}", "")) + self.task.longest

    @property
    def compared(self) -> dict[Pair, tuple[str, ...]]:
        """Rows and references that its table compares, and as what: see `kpo.config.compare`."""
        return declared(self.methods, self.compare)

    @property
    def runs(self) -> list[str]:
        """Names of all runs."""
        return [run_name(method, seed) for method in self.methods for seed in self.seeds]


def run_name(method: str, seed: int) -> str:
    """Of the run of a method and a training seed, wherever it is named: `<method>-s<seed>`."""
    return f"{method}-s{seed}"


def run_parts(run: str) -> tuple[str, str]:
    """The method of a run, and `s<seed>`; of the base model "" and `base`."""
    method, _, end = run.rpartition("-")
    return method, end


def load_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file. Raises ConfigError with a sentence for every fault."""
    return make_experiment(read_experiment_file(Path(path)), path)


def make_experiment(content: dict[str, Any], place: str | Path) -> Experiment:
    """Check an experiment file's content; refusals, as of `load_experiment`, begin with `place`."""
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        own = (fault for fault in error.errors() if fault["type"] != "default_factory_not_called")
        faults = (f"{place}: {sentence(Experiment, fault)}" for fault in own)
        raise ConfigError("\n".join(faults)) from None
