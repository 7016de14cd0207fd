"""Supervised fine-tuning: learn to continue prompts as examples do; only the answers' tokens count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minidsk.data.tokenizer import Tokenizer
from minidsk.hub.folder import sum_of
from minidsk.settings import AT_ONCE, LAST_SEED, positive, within
from minidsk.train.checkpoint import Run
from minidsk.train.device import threads_for
from minidsk.train.loop import Slices, fit
from minidsk.train.optim import OptimConfig, Optimizer

Example = tuple[str, str]


@dataclass(frozen=True)
class SFTConfig:
    """Fine-tuning on examples. Raises `ValueError` for a field that does not fit."""

    steps: int = 40  # batches to learn from, one update each
    batch: int = 64  # examples in a batch, drawn anew for each
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(warmup=5))
    save_every: int = 20  # steps between states from which an interrupted run goes on
    seed: int = 0  # of the order in which examples are drawn

    def __post_init__(self) -> None:
        positive(self, "steps", "save_every")
        within(self, 1, AT_ONCE, "batch")
        within(self, 0, LAST_SEED, "seed")


def read_examples(path: str | Path, tokenizer: Tokenizer | None = None, positions: int = 0) -> list[Example]:
    """Examples from a file of JSON lines, each with "prompt" and "completion".

    Raises `ValueError` that names the file, and the line where one is at fault; with a tokenizer also for an example of
    more tokens than a model has `positions`.
    """
    examples = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            examples.append((str(entry["prompt"]), str(entry["completion"])))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: not an object with prompt and completion; correct the line"
            ) from error
        tokens = 1 + sum(len(tokenizer.encode(text)) for text in examples[-1]) if tokenizer else 0  # with <bos>
        if tokens > positions:
            raise ValueError(f"{path}, line {number}: {tokens:,} tokens, and this model was made for {positions:,}")
    if not examples:
        raise ValueError(f"{path}: holds no examples; give one JSON object a line with prompt and completion")
    return examples


def fine_tune(
    policy: Any,
    examples: Sequence[Example],
    config: SFTConfig,
    run: Run,
    *,
    spent: float = 0.0,
    description: str = "sft",
    progress: bool = True,
) -> None:
    """Train a policy (see `minidsk.rl.policy`) in place on examples, logging to `run` and going on where it stopped.

    Examples are pairs of prompt and completion; the loss is the mean over all tokens of the completions. `spent`:
    operations that the examples took, which the run counts as its own. Raises `RunError` where the run was begun with
    other examples.
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
        return {"lr": rate, "rows": slices.rows, "tokens": int(batch.attention_mask.sum()), "flops": flops, **figures}

    with threads_for(policy.device, policy.width):
        fit(run, config.steps, step, {"model": policy.model, "optimizer": optimizer}, save_every=config.save_every,
            description=description, progress=progress, show=lambda f: {"loss": f"{f['loss']:.3f}"})  # fmt: skip
    lines = run.metrics()
    flops = spent + sum(line["flops"] for line in lines)
    run.finish(policy.save, tokens=sum(line["tokens"] for line in lines), flops=flops)
