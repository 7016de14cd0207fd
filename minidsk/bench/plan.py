"""At which sizes the model is measured: on a GPU, on a CPU, and tiny, to see that all runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from minidsk.bench.subject import MOE, tiny
from minidsk.model.config import ModelConfig
from minidsk.presets import nano

AXES = ("batch", "context", "experts", "layers")


@dataclass(frozen=True)
class Point:
    """One size: `value` on its axis, of a model `config` that works on `batch` rows of `context` tokens."""

    axis: str
    value: int
    config: ModelConfig
    batch: int
    context: int


@dataclass(frozen=True)
class Plan:
    """The values of every axis. Where another one grows, prompts and contexts are the first of theirs, and so are the
    rows of a training step; `batch` rows are then sampled."""

    config: ModelConfig
    batches: tuple[int, ...]  # rows that are sampled at once
    prompts: tuple[int, ...]  # tokens before the first that is sampled; the first one is the usual
    new: int  # tokens sampled in each row
    rows: tuple[int, ...]  # rows of a training step; the first one is the usual
    contexts: tuple[int, ...]  # tokens of each; the first one is the usual
    experts: tuple[int, ...]
    layers: tuple[int, ...]
    batch: int  # rows sampled where another axis grows
    guessing: tuple[int, ...]  # rows that are sampled with guesses
    learnt: int  # steps that the modules which guess learn before
    problems: int  # of a step of GRPO, and
    group: int  # answers to each, and
    answer: int  # tokens of the longest
    small: bool = False  # whether it is only to see that all runs
    weights: str | None = None  # a checkpoint with MTP modules, to guess with

    def generation(self, axes: tuple[str, ...]) -> Iterator[Point]:
        """Where sampling is measured on these axes."""
        return (point for point in self._points(self.batches, self.prompts, self.batch) if point.axis in axes)

    def training(self, axes: tuple[str, ...]) -> Iterator[Point]:
        """Where forward and backward are measured on these axes; the usual rows first."""
        return (point for point in self._points(self.rows, self.contexts, self.rows[0]) if point.axis in axes)

    def _points(self, batches: tuple[int, ...], contexts: tuple[int, ...], batch: int) -> Iterator[Point]:
        for value in batches:
            yield Point("batch", value, self.config, value, contexts[0])
        for value in contexts[1:]:
            yield Point("context", value, self.config, batch, value)
        for value in self.experts:
            yield Point("experts", value, self.config.replace(n_routed_experts=value), batch, contexts[0])
        for value in self.layers:
            yield Point("layers", value, self.config.replace(num_hidden_layers=value), batch, contexts[0])


def plan_for(device: torch.device, small: bool = False) -> Plan:
    """The sizes of the course's targets on a GPU, those of the nano recipe on a CPU; `small`: tiny ones."""
    if small:
        return Plan(tiny(), (1, 2), (4, 8), 3, (2,), (8, 16), (4, 8), (2, 3), 2, (1,), 2, 2, 2, 4, small=True)
    if device.type == "cuda":
        return Plan(
            MOE, batches=(1, 64, 1024, 2048), prompts=(32, 512, 1920), new=128, rows=(64, 16, 128),
            contexts=(512, 128, 2048), experts=(8, 64), layers=(3, 12), batch=1024, guessing=(1, 16, 128),
            learnt=200, problems=128, group=16, answer=160,
        )  # fmt: skip
    return Plan(
        nano().pretrain.model.replace(max_position_embeddings=4096), batches=(1, 64, 256), prompts=(32, 256), new=128,
        rows=(8, 32), contexts=(160, 640), experts=(8, 16), layers=(6,), batch=64, guessing=(1, 4, 16), learnt=200,
        problems=16, group=16, answer=160,
    )  # fmt: skip
