"""Supervised fine-tuning: learn to continue prompts as examples do; only the answers' tokens count."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from minidsk.data.tokenizer import Tokenizer
from minidsk.model.attention import any_width
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import training_flops
from minidsk.settings import AT_ONCE, LAST_SEED, limits, positive, within
from minidsk.train.checkpoint import Run
from minidsk.train.device import precision, suited_threads
from minidsk.train.optim import learning_rate, make_optimizers, set_rate

Example = tuple[str, str]


@dataclass(frozen=True)
class SFTConfig:
    """Fine-tuning on examples. Raises `ValueError` for a field that does not fit."""

    steps: int = 40  # batches to learn from, one update each
    batch: int = 64  # examples in a batch, drawn anew for each
    lr: float = 1e-3  # the learning rate at its peak
    warmup: int = 5  # steps over which the learning rate rises to its peak
    decay: float = 0.5  # share of all steps, the last ones, over which the learning rate falls to a tenth
    weight_decay: float = 0.0  # how strongly AdamW pulls matrices towards 0
    clip: float = 1.0  # the largest norm of a gradient; longer ones are shortened to it; inf: none is
    save_every: int = 20  # steps between states from which an interrupted run goes on
    seed: int = 0  # of the order in which examples are drawn

    def __post_init__(self) -> None:
        positive(self, "steps", "lr", "save_every")
        within(self, 1, AT_ONCE, "batch")
        within(self, 0, math.inf, "warmup", "weight_decay")
        within(self, 0, 1, "decay")
        within(self, 0, LAST_SEED, "seed")
        limits(self, "clip")


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


def collate(examples: Sequence[Example], tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """Ids, padded on the right, and which of them are to be learnt: int64 and bool ``[batch, time]``."""
    prompts = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt, _ in examples]
    answers = [[*tokenizer.encode(completion), tokenizer.eos_id] for _, completion in examples]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((len(examples), width), tokenizer.pad_id)
    learnt = torch.zeros(len(examples), width, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        learnt[row, len(prompt) : len(prompt) + len(answer)] = True
    return ids, learnt


def fine_tune(
    model: MiniDeepSeek,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    config: SFTConfig,
    run: Run,
    *,
    description: str = "sft",
    progress: bool = True,
) -> MiniDeepSeek:
    """Train `model` in place on (prompt, completion) pairs, logging to `run` and going on where it stopped."""
    optimizers = make_optimizers(model, config.lr, config.weight_decay)
    start = run.load_state(model=model, optimizers=optimizers)
    tokens = sum(line["tokens"] for line in run.metrics())
    bar = tqdm(total=config.steps, initial=start, desc=description, unit="step", disable=not progress)
    with suited_threads(model), bar:
        for step in range(start, config.steps):
            rate = learning_rate(step, config.steps, config.lr, config.warmup, config.decay)
            set_rate(optimizers, rate)
            generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
            drawn = torch.randint(len(examples), (config.batch,), generator=generator).tolist()
            ids, learnt = (t.to(model.device) for t in collate([examples[i] for i in drawn], tokenizer))
            with precision(model.device), any_width():
                logits = model(ids[:, :-1], mtp=False).logits
            losses = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
            loss = losses[learnt[:, 1:].flatten()].mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            value = float(loss.detach())
            seen = int((ids != tokenizer.pad_id).sum())
            tokens += seen
            run.log(step=step + 1, seconds=round(run.seconds, 2), loss=value, lr=rate, tokens=seen)
            if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
                run.save_state(step + 1, model=model, optimizers=optimizers)
            bar.set_postfix(loss=f"{value:.3f}")
            bar.update()
    run.finish(model, tokenizer, tokens=tokens, flops=tokens * training_flops(model.config, 100, mtp=False))
    return model
