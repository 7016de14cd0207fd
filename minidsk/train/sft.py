"""Supervised fine-tuning: learn to continue prompts as examples do; only the answers' tokens count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidsk.hub.folder import sum_of
from minidsk.train.checkpoint import Run
from minidsk.train.device import threads_for
from minidsk.train.loop import Slices, fit
from minidsk.train.optim import OptimConfig, Optimizer

Example = tuple[str, str]



@dataclass(frozen=True)
class SFTConfig:
    """One run of fine-tuning: `steps` batches of `batch` examples, each drawn anew in an order fixed by `seed`."""

    steps: int = 40
    batch: int = 64
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(warmup=5))
    save_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "save_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} does not fit; it must be positive")


def read_examples(path: str | Path) -> list[Example]:
    """Examples from a file of JSON lines, each with "prompt" and "completion"."""
    examples = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            examples.append((str(entry["prompt"]), str(entry["completion"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: not an object with prompt and completion; mend the line"
            ) from error
    if not examples:
        raise ValueError(f"{path}: holds no examples; give one JSON object a line with prompt and completion")
    return examples


def fine_tune(
    policy: Any,
    examples: Sequence[Example],
    config: SFTConfig,
    run: Run,
    *,
    description: str = "sft",
    progress: bool = True,
) -> None:
    """Train a policy (see `minidsk.rl.policy`) in place on examples, logging to `run` and going on where it stopped.

    Examples are pairs of prompt and completion; the loss is the mean over all tokens of the completions. Raises
    `RunError` where the run was begun with other examples.
    """
    run.identify(examples=sum_of(list(examples))[:16])
    optimizer, slices = Optimizer(policy.model, config.optim, config.steps), Slices(config.batch)

    def step(number: int) -> dict[str, Any]:
        rate = optimizer.schedule(number)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        drawn = torch.randint(len(examples), (config.batch,), generator=generator).tolist()
        batch = policy.encode([examples[i][0] for i in drawn], [examples[i][1] for i in drawn])
        learned = batch.mask.sum()

        def loss(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            some = batch[rows]
            return -(policy.logprobs(some) * some.mask).sum() / learned, {}

        figures = slices.step(optimizer, torch.arange(config.batch, device=learned.device), loss)
        flops = policy.flops(batch, updates=1) - policy.flops(batch)
        return {"lr": rate, "tokens": int(batch.attention_mask.sum()), "flops": flops, **figures}

    with threads_for(policy.device, policy.width):
        fit(run, config.steps, step, {"model": policy.model, "optimizer": optimizer}, save_every=config.save_every,
            description=description, progress=progress, show=lambda f: {"loss": f"{f['loss']:.3f}"})  # fmt: skip
    lines = run.metrics()
    run.finish(policy.save, **{name: sum(line[name] for line in lines) for name in ("tokens", "flops")})
