"""Pretraining: next-token prediction on the tiny web, with balance by bias and multi-token prediction."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.tokenizer import CharTokenizer, Tokenizer
from minidsk.model.config import ModelConfig
from minidsk.model.moe import Routing, max_violation, sequence_balance_loss, update_bias
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import training_flops
from minidsk.scale.room import check_room
from minidsk.settings import AT_ONCE, LAST_SEED, limits, positive, require, within
from minidsk.train.checkpoint import Run, RunError, load_checkpoint, read_json
from minidsk.train.device import compiled, pick_device, precision, suited_threads
from minidsk.train.loss import prediction_losses
from minidsk.train.optim import learning_rate, make_optimizers, set_rate


@dataclass(frozen=True)
class PretrainConfig:
    """Pretraining: a new model, and the pages that it reads. Raises `ValueError` for a field that does not fit."""

    model: ModelConfig = field(default_factory=ModelConfig)
    web: TinyWebConfig = field(default_factory=TinyWebConfig)
    steps: int = 400  # batches to learn from, one update each
    batch: int = 32  # rows of text in a batch
    context: int = 192  # tokens in a row
    lr: float = 3e-3  # the learning rate at its peak
    warmup: int = 20  # steps over which the learning rate rises to its peak
    decay: float = 0.5  # share of all steps, the last ones, over which the learning rate falls to a tenth
    weight_decay: float = 0.1  # how strongly AdamW (or Muon) pulls matrices towards 0
    clip: float = 1.0  # the largest norm of a gradient; longer ones are shortened to it; inf: none is
    muon: bool = False  # Muon for the inner matrices in the place of AdamW
    bias_speed: float = 0.001  # how far each expert's bias moves in a step to balance the load (V3: 0.001); 0: not
    balance: float = 0.0001  # weight of the sequence balance loss (V3: 0.0001)
    mtp_weight: float = 0.3  # weight of the loss for tokens further ahead, lambda (V3: 0.3, later 0.1)
    isolate: bool = False  # keep attention within a page: a tiny model need not learn which numbers are its own
    compile: bool = False  # run the blocks through torch.compile, worth its waiting time on a GPU
    save_every: int = 100  # steps between states from which an interrupted run goes on
    seed: int = 0  # of the weights and of the pages

    def __post_init__(self) -> None:
        positive(self, "steps", "lr", "save_every")
        within(self, 1, AT_ONCE, "batch", "context")
        require(self, "batch", self.batch * self.context <= 2**26, "at most 67,108,864 tokens, batch times context")
        within(self, 0, math.inf, "warmup", "weight_decay", "bias_speed", "balance", "mtp_weight")
        within(self, 0, 1, "decay")
        within(self, 0, LAST_SEED, "seed")
        limits(self, "clip")


def read_config(folder: str | Path) -> PretrainConfig:
    """The settings of the pretraining run in `folder`. Raises `RunError` where there is none, or one of fields that are
    not known."""
    path = Path(folder) / "config.json"
    if not path.exists():
        raise RunError(f"{folder}: no base model there; train one first, by minidsk pretrain --out {folder}")
    settings = read_json(path).get("minidsk", {}).get("settings", {})
    try:
        web: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings["web"].items()}
        made = {"model": ModelConfig(**settings["model"]), "web": TinyWebConfig(**web)}
        return PretrainConfig(**{**settings, **made})
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{path}: not the settings of a pretraining run ({error}); name another folder") from error


class PackedPages(Dataset[Tensor]):
    """Batches of pages packed end to end: item i is int64 ``[batch, context + 1]``, a pure function of i.

    A page is `<bos>` text `<eos>`; a row starts with a fresh page and its last page is cut off. As in DeepSeek-V3,
    attention may look across pages (section 4.1).
    """

    PAGES_PER_ROW = 64

    def __init__(self, web: TinyWeb, tokenizer: Tokenizer, batch: int, context: int) -> None:
        self.web, self.tokenizer, self.batch, self.context = web, tokenizer, batch, context

    def __getitem__(self, i: int) -> Tensor:
        """Batch number i."""
        return torch.tensor([self._row(i * self.batch + row) for row in range(self.batch)])

    def _row(self, row: int) -> list[int]:
        ids: list[int] = []
        page = row * self.PAGES_PER_ROW
        while len(ids) <= self.context:
            ids += [self.tokenizer.bos_id, *self.tokenizer.encode(self.web[page]), self.tokenizer.eos_id]
            page += 1
        return ids[: self.context + 1]


def pretrain(
    config: PretrainConfig,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    data: Dataset[Tensor] | None = None,
    device: str = "auto",
    progress: bool = True,
) -> MiniDeepSeek:
    """Train from random weights and leave a run folder; a run that was interrupted goes on where it stopped.

    Where the folder holds this run already, finished, its weights are loaded.

    `data[i]` gives batch i, int64 ``[batch, context + 1]``; the default is the tiny web of `config.web`.
    """
    tokenizer = tokenizer or CharTokenizer()
    if tokenizer.vocab_size > config.model.vocab_size:
        had, needed = config.model.vocab_size, tokenizer.vocab_size
        raise ValueError(f"vocab_size: {had!r} does not fit; it must be {needed} or more for this tokenizer")
    where = pick_device(device)
    check_room(config.model, where)
    run = Run(folder, "pretrain", config)
    if run.finished:
        return load_checkpoint(folder, where)[0]
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(config.seed)).to(where)
    optimizers = make_optimizers(model, config.lr, config.weight_decay, config.muon)
    start = run.load_state(model=model, optimizers=optimizers)
    trainee = compiled(model) if config.compile else model
    if data is None:
        data = PackedPages(TinyWeb(config.web, config.seed), tokenizer, config.batch, config.context)
    page_start = tokenizer.bos_id if config.isolate else None
    batches = _load(data, range(start, config.steps), where)
    bar = tqdm(total=config.steps, initial=start, desc="pretrain", unit="step", disable=not progress)
    with suited_threads(model), bar:
        for step in range(start, config.steps):
            rate = learning_rate(step, config.steps, config.lr, config.warmup, config.decay)
            set_rate(optimizers, rate)
            losses, routing = train_step(trainee, optimizers, next(batches), config, page_start)
            done = step + 1
            if done % 10 == 0 or done == config.steps:
                loads = [decided.load() for decided in routing]
                worst = max((float(max_violation(load)) for load in loads), default=0.0)
                seconds, tokens = run.seconds, done * config.batch * config.context
                run.log(step=done, tokens=tokens, seconds=round(seconds, 2), lr=rate, max_violation=worst,
                        **{name: float(value) for name, value in losses.items()})  # fmt: skip
                bar.set_postfix(loss=f"{float(losses['loss']):.3f}", tok_s=f"{tokens / seconds:,.0f}")
            if done % config.save_every == 0 and done < config.steps:
                run.save_state(done, model=model, optimizers=optimizers)
            bar.update()
    tokens = config.steps * config.batch * config.context
    run.finish(model, tokenizer, tokens=tokens, flops=tokens * training_flops(config.model, config.context / 2))
    return model


def train_step(
    model: MiniDeepSeek,
    optimizers: list[torch.optim.Optimizer],
    ids: Tensor,
    config: PretrainConfig,
    page_start: int | None = None,
) -> tuple[dict[str, Tensor], list[Routing]]:
    """One update on `ids` ``[batch, context + 1]``: the losses by name, and the routing that the bias learnt from.

    Where `page_start` is given, the token with which a page begins, attention stays within pages.
    """
    documents = None if page_start is None else (ids[:, :-1] == page_start).cumsum(1)
    with precision(model.device):
        parts, routing = prediction_losses(model, ids, config.mtp_weight, documents)
        if routing and config.balance > 0:
            balances = [sequence_balance_loss(r.scores, r.indices, config.balance) for r in routing]
            parts["balance_loss"] = torch.stack(balances).sum()
        total = torch.stack(list(parts.values())).sum()
    total.backward()
    parts["grad_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if config.bias_speed > 0:
        for router, decided in zip(model.routers(), routing, strict=False):
            bias = router.e_score_correction_bias
            bias.copy_(update_bias(bias, decided.load(), config.bias_speed))
    return {name: value.detach() for name, value in parts.items()}, routing


def _load(data: Dataset[Tensor], numbers: range, device: torch.device) -> Iterator[Tensor]:
    """Batches in order, made by other processes where a GPU would wait for them."""
    workers = min((os.cpu_count() or 2) - 1, 6) if device.type == "cuda" else 0
    loader = DataLoader(data, batch_size=None, sampler=numbers, num_workers=workers,
                        pin_memory=device.type == "cuda", prefetch_factor=8 if workers else None)  # fmt: skip
    for ids in loader:
        yield ids.to(device, non_blocking=True)
