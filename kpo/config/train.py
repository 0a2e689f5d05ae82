"""The settings of a training run."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from kpo.config.values import Beta, Engine, Gpus, PositiveInt, Section, Share, Text, must

OPERATIONAL = {"threads", "checkpoint_every", "stall_s", "gpu_memory", "tracker"}
"""Settings that change how a run is carried out but not what comes out of it."""
OF_A_METHOD = {
    *("lr", "betas", "weight_decay", "warm_up", "final_lr", "clip_norm"),
    "truncated_importance",
    *("steps", "mini_batches", "passes", "staleness"),
}
"""Settings that a method may have otherwise than the experiment's other methods."""

_AS_MODELLED = (
    "while training: the importance ratio compares whole distributions at temperature 1, which must"
    " also be those that were sampled from"
)


class Train(Section):
    """One RL run; methods share these settings but for what a row has otherwise."""

    problems: str = Field(description="name of the training set")
    engine: Engine | Literal["verl"] = Field(
        "transformers", description="samples the rollouts; verl does all the training, on Ray"
    )
    verl: Annotated[tuple[Text, ...], Field(strict=False)] = Field(  # a key of plans is hashed
        (),
        exclude_if=operator.not_,
        description="where engine is verl, further settings of its own, as on its command line",
    )
    steps: PositiveInt | None = Field(None, description="rollout batches")
    epochs: PositiveInt | None = Field(None, description="passes over the prompts, in their place")
    prompts: PositiveInt = Field(32, description="prompts per step")
    group: Annotated[int, Field(ge=2)] = Field(8, description="responses per prompt, G")
    mini_batches: PositiveInt = Field(4, description="optimizer steps per pass over a batch")
    passes: PositiveInt = Field(1, description="passes over each rollout batch")
    max_tokens_per_microbatch: PositiveInt = Field(
        8192, description="tokens of one forward pass, prompts included, on each rank"
    )
    staleness: NonNegativeInt = Field(0, description="age of the rollouts in steps")
    max_prompt_tokens: PositiveInt
    max_response_tokens: PositiveInt
    temperature: Annotated[float, must(lambda p: p == 1, f"must be 1 {_AS_MODELLED}")] = 1.0
    top_p: Annotated[float, must(lambda p: p == 1, f"must be 1 {_AS_MODELLED}")] = 1.0
    top_k: Annotated[int, must(lambda k: k == 0, f"must be 0 (off) {_AS_MODELLED}")] = 0
    max_logprob_mismatch: PositiveFloat | None = Field(
        None,
        description="stop where the engine's log-probs are further from the trainer's, in nats, in"
        " the mean or 100 times as far in one token; default: 1e-4 in float32, 0.1 in bfloat16",
    )
    truncated_importance: PositiveFloat | None = Field(
        None, description="weigh tokens by pi_old / pi_rollout, at most this; no weights"
    )
    reward: Literal["graded", "coin"] = Field(
        "graded",
        description="1 for a right answer, or by a coin whatever the answer is: a control",
    )
    lr: PositiveFloat
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    warm_up: Share = Field(0.05, description="share of the updates with a rising learning rate")
    final_lr: Share = Field(1.0, description="share of lr at which it ends, along a cosine")
    clip_norm: PositiveFloat = 1.0
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the computation; master weights and reductions are float32"
    )
    scoring_dtype: Literal["float32"] | None = Field(
        None, description="of the trainer's own passes, old log-probs and updates; that of dtype"
    )
    activation_checkpointing: bool = False
    deterministic: bool = Field(
        False, description="ask for kernels that give the same bytes in every run, as on the CPU"
    )
    gpus: Gpus = 0
    ranks: PositiveInt = Field(1, description="processes on the CPU, where gpus is 0")
    nodes: PositiveInt = Field(
        1,
        description="machines of a run, started by Slurm: gpus and ranks are those of each",
        exclude_if=lambda nodes: nodes == 1,  # runs are recognised by what settings say
    )
    threads: PositiveInt = Field(1, description="CPU threads of each process")
    checkpoint_every: PositiveInt = Field(10, description="steps between two checkpoints")
    stall_s: PositiveFloat = Field(3600.0, description="stop after so long without progress")
    gpu_memory: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.4, description="share of a GPU's memory for vLLM while it samples"
    )
    tracker: Literal["tensorboard", "wandb", "trackio"] = Field(
        "tensorboard", description="shows curves while a run trains; TensorBoard's are always there"
    )

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.nodes * self.per_node

    @property
    def per_node(self) -> int:
        """Number of processes on each machine."""
        return self.gpus or self.ranks

    @property
    def scoring(self) -> str:
        """The dtype of the trainer's own passes; the engine samples in `dtype`."""
        return self.scoring_dtype or self.dtype

    @property
    def updates(self) -> int:
        """Optimizer steps per rollout batch."""
        return self.mini_batches * self.passes

    def total_steps(self, problems: int) -> int:
        """Steps of a run on this many training problems."""
        return self.steps or (self.epochs or 0) * problems // self.prompts

    @property
    def launcher(self) -> str:
        """The command that starts `-m kpo.train`."""
        if self.engine == "verl":  # whose processes are Ray's
            return "python"
        if self.nodes > 1:
            how = f"--threads {self.threads}{' --gpus' if self.gpus else ''}"
            return f"python -m kpo.nodes {how} {self.nodes} {self.per_node}"
        return "python" if self.world == 1 else f"python -m kpo.launch {self.world}"

    @property
    def on_nodes(self) -> dict[str, int | str]:
        """What Snakemake's Slurm executor is told of the machines, as resources.

        GPUs of several machines are given by gres, which is what each has; `mpi` says that the
        command starts its tasks itself.
        """
        if self.nodes == 1:
            return {"nodes": 1}
        told: dict[str, int | str] = {"nodes": self.nodes, "tasks": self.nodes, "mpi": "srun"}
        if self.gpus:
            told |= {"gres": f"gpu:{self.gpus}", "tasks_per_gpu": 0}
        return told

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return self.max_prompt_tokens + self.max_response_tokens

    def _faults(self) -> Iterator[str]:
        responses = self.prompts // self.mini_batches * self.group
        faults: dict[str, bool] = {
            f"verl ({', '.join(self.verl)}) has no use without engine verl; drop it": (
                bool(self.verl) and self.engine != "verl"
            ),
            f"give either steps or epochs, got steps {self.steps} and epochs {self.epochs}": (
                (self.steps is None) == (self.epochs is None)
            ),
            f"staleness ({self.staleness}) must be less than steps ({self.steps}): no rollouts can"
            " be older than the run": self.steps is not None and self.staleness >= self.steps,
            f"mini_batches ({self.mini_batches}) must divide prompts ({self.prompts}), as a"
            " mini-batch holds whole groups": self.prompts % self.mini_batches > 0,
            f"gpus ({self.gpus}) and ranks ({self.ranks}) exclude each other: ranks are processes"
            " on the CPU": self.gpus > 0 and self.ranks > 1,
            f"max_tokens_per_microbatch ({self.max_tokens_per_microbatch}) must hold one prompt"
            f" and its response, max_prompt_tokens + max_response_tokens ({self.longest})": (
                self.max_tokens_per_microbatch < self.longest
            ),
            f"the {self.world} processes must divide a mini-batch's {responses} responses"
            " (prompts / mini_batches x group)": responses % self.world > 0,
            f"prompts ({self.prompts}) must be at least one for each of the {self.world}"
            " processes": self.prompts < self.world,
        }
        yield from (fault for fault, present in faults.items() if present)
        if self.engine == "verl":
            yield from self.refused_by_verl()

    def refused_by_verl(self) -> Iterator[str]:
        """A sentence for each of these settings that verl has nothing for."""
        stall_s = type(self).model_fields["stall_s"].default
        faults: dict[str, bool] = {
            f"gpus ({self.gpus}) must be at least 1 with verl, which does not train on the CPU": (
                not self.gpus
            ),
            f"nodes ({self.nodes}) must be left out with verl, whose nodes are Ray's: set"
            " trainer.nnodes under verl": self.nodes > 1,
            f"staleness ({self.staleness}) must be 0 with verl, which samples every batch from the"
            " present weights": self.staleness > 0,
            f"truncated_importance ({self.truncated_importance}) must be left out with verl, which"
            " would clip each response's weight": self.truncated_importance is not None,
            f"reward ({self.reward}) must be graded with verl": self.reward != "graded",
            f"max_logprob_mismatch ({self.max_logprob_mismatch}) must be left out with verl, which"
            " stops at none": self.max_logprob_mismatch is not None,
            f"stall_s ({self.stall_s:g}) must be left out with verl, which waits however long": (
                self.stall_s != stall_s
            ),
        }
        yield from (fault for fault, present in faults.items() if present)
