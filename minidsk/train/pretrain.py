"""Pretraining: next-token prediction on the tiny web, with balance by bias and multi-token prediction."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from minidsk.data.corpus import TinyWeb, TinyWebConfig
from minidsk.data.packing import PackedPages
from minidsk.data.tokenizer import CharTokenizer, Tokenizer
from minidsk.hub.folder import about
from minidsk.hub.hf import save_pretrained
from minidsk.model.config import ModelConfig
from minidsk.model.moe import max_violation, sequence_balance_loss, update_bias
from minidsk.model.operations import Kernels
from minidsk.model.transformer import MiniDeepSeek
from minidsk.scale.cost import training_flops
from minidsk.scale.room import check_room
from minidsk.settings import AT_ONCE, BACKENDS, LAST_SEED, one_of, positive, require, within
from minidsk.train.checkpoint import Run, RunError, load_checkpoint
from minidsk.train.device import compiled, pick_device, precision, threads_for
from minidsk.train.graph import GraphedGradients
from minidsk.train.loop import Loss, Slices, fit, gradients
from minidsk.train.loss import prediction_losses
from minidsk.train.optim import OptimConfig, Optimizer

LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class PretrainConfig:
    """Pretraining: a new model, and the pages that it reads. Raises `ValueError` for a field that does not fit."""

    model: ModelConfig = field(default_factory=ModelConfig)
    web: TinyWebConfig = field(default_factory=TinyWebConfig)
    steps: int = 400  # batches to learn from, one update each
    batch: int = 32  # rows of text in a batch
    context: int = 192  # tokens in a row
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=3e-3, warmup=20, weight_decay=0.1))
    kernels: str = "torch"  # who computes experts, norms and losses: torch, or triton for minidsk.kernels
    bias_speed: float = 0.001  # how far each expert's bias moves in a step to balance the load (V3: 0.001); 0: not
    balance: float = 0.0001  # weight of the sequence balance loss (V3: 0.0001)
    mtp_weight: float = 0.3  # weight of the loss for tokens further ahead, lambda (V3: 0.3, later 0.1)
    isolate: bool = False  # keep attention within a page: a tiny model need not learn which numbers are its own
    compile: bool = False  # run the blocks through torch.compile, worth its waiting time on a GPU
    graph: bool = False  # on a GPU, replay forward and backward from one CUDA graph
    rows: int = 0  # rows computed at a time, whose gradients add up: fewer take less memory; 0: all of the batch
    recompute: bool = False  # compute again, in the backward pass, what blocks would have kept: less memory
    save_every: int = 100  # steps between states from which an interrupted run goes on
    seed: int = 0  # of the weights and of the pages

    def __post_init__(self) -> None:
        positive(self, "steps", "save_every")
        within(self, 1, AT_ONCE, "batch", "context")
        within(self, 0, AT_ONCE, "rows")
        require(self, "batch", self.batch * self.context <= 2**26, "at most 67,108,864 tokens, batch times context")
        within(self, 0, math.inf, "bias_speed", "balance", "mtp_weight")
        within(self, 0, LAST_SEED, "seed")
        one_of(self, "kernels", BACKENDS)


def read_config(folder: str | Path) -> PretrainConfig:
    """The settings of the pretraining run in `folder`. Raises `RunError` where there is none, or one of fields that are
    not known."""
    path = Path(folder) / "config.json"
    if not path.exists():
        raise RunError(f"{folder}: no base model there; train one first, by minidsk pretrain --out {folder}")
    settings = about(path.parent).get("settings", {})
    try:
        web: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings["web"].items()}
        optim = {**settings["optim"], "betas": tuple(settings["optim"]["betas"])}
        made = {"model": ModelConfig(**settings["model"]), "web": TinyWebConfig(**web), "optim": OptimConfig(**optim)}
        return PretrainConfig(**{**settings, **made})
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{path}: not the settings of a pretraining run ({error}); name another folder") from error


def pretrain(
    config: PretrainConfig,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    data: Any = None,
    device: str = "auto",
    progress: bool = True,
) -> MiniDeepSeek:
    """Train from random weights and leave a run folder; a run that was interrupted goes on where it stopped.

    Where the folder holds this run already, finished, its weights are loaded.

    `data[i]` gives batch i, int64 ``[batch, context + 1]``, and has a `fingerprint` (see `data.corpus.Corpus`), for a
    run is its settings, its data and its tokenizer; the default is the tiny web of `config.web`.
    """
    tokenizer = tokenizer or CharTokenizer()
    if tokenizer.vocab_size > config.model.vocab_size:
        had, needed = config.model.vocab_size, tokenizer.vocab_size
        raise ValueError(f"vocab_size: {had!r} does not fit; it must be {needed} or more for this tokenizer")
    if data is None:
        data = PackedPages(TinyWeb(config.web, config.seed), tokenizer, config.batch, config.context)
    elif not isinstance(getattr(data, "fingerprint", None), str):
        raise ValueError("data: has no fingerprint; give it one, a string that changes when what it holds does")
    where = pick_device(device)
    check_room(config.model, where)
    run = Run(folder, "pretrain", config, data=data.fingerprint, tokenizer=tokenizer.fingerprint)
    if run.finished:
        return load_checkpoint(folder, where)[0]
    model = MiniDeepSeek(config.model, torch.Generator().manual_seed(config.seed)).to(where)
    model.use(Kernels.all(config.kernels))
    model.recompute = config.recompute
    optimizer = Optimizer(model, config.optim, config.steps)
    trainee = compiled(model) if config.compile else model
    page_start = tokenizer.bos_id if config.isolate else None
    slices, graphed = Slices(config.rows or config.batch), GraphedGradients(trainee) if config.graph else None
    batches: Iterator[Tensor] | None = None
    waited = 0.0

    def update(step: int) -> dict[str, Any]:
        nonlocal batches, waited
        if batches is None:  # the first step of this process
            batches = load_batches(data, range(step, config.steps), where)
        rate, began = optimizer.schedule(step), time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - began
        figures, loads = train_step(trainee, optimizer, batch, config, page_start, slices, graphed)
        worst = max((max_violation(load) for load in loads), default=0.0)
        tokens = (step + 1) * config.batch * config.context
        about = {"waited": round(waited, 2), "tokens": tokens, "lr": rate, "rows": slices.rows}
        return {**about, "max_violation": worst, **figures}

    def show(figures: Mapping[str, Any]) -> dict[str, str]:
        return {"loss": f"{figures['loss']:.3f}", "tok_s": f"{figures['tokens'] / run.seconds:,.0f}"}

    with threads_for(where, config.model.hidden_size):
        fit(run, config.steps, update, {"model": model, "optimizer": optimizer}, save_every=config.save_every,
            log_every=LOG_EVERY, description="pretrain", progress=progress, show=show)  # fmt: skip
    tokens = config.steps * config.batch * config.context

    def save(folder: Path, about: dict[str, Any]) -> None:
        save_pretrained(model, folder, tokenizer, extra={**about, "tokenizer": tokenizer.fingerprint})

    run.finish(save, tokens=tokens, flops=tokens * training_flops(config.model, config.context / 2))
    return model


def train_step(
    model: MiniDeepSeek,
    optimizer: Optimizer,
    ids: Tensor,
    config: PretrainConfig,
    page_start: int | None = None,
    slices: Slices | None = None,
    graphed: GraphedGradients | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """One update on `ids` ``[batch, context + 1]``; the losses by name and `grad_norm`, and the load of the experts.

    The load is how many tokens each expert was given, float32 ``[mixture layers, experts]``. Where `page_start` is
    given, the token with which a page begins, attention stays within pages. `graphed` computes the gradients, where it
    is given.
    """
    whole = len(ids)

    def loss(part: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        share = len(part) / whole
        documents = None if page_start is None else (part[:, :-1] == page_start).cumsum(1)
        with precision(model.device, fixed_width=True):
            losses, routings = prediction_losses(model, part, config.mtp_weight, documents)
            if routings and config.balance > 0:
                balances = [sequence_balance_loss(r.scores, r.indices, config.balance) for r in routings]
                losses["balance_loss"] = torch.stack(balances).sum()
            total = torch.stack(list(losses.values())).sum()
        stats = {name: value.detach() * share for name, value in losses.items()}
        if routings:
            stats["loads"] = torch.stack([routing.load() for routing in routings])  # [layers, experts]
        return total * share, stats

    def compute(loss: Loss, rows: Tensor) -> dict[str, Tensor]:
        return (graphed or gradients)(loss, ids if len(rows) == whole else ids[rows])

    numbers = torch.arange(whole, device=ids.device)
    figures = (slices or Slices(whole)).step(optimizer, numbers, loss, compute)
    loads = figures.pop("loads", ids.new_zeros(0, 1))
    for router, load in zip(model.routers() if config.bias_speed > 0 else (), loads, strict=False):
        bias = router.e_score_correction_bias
        bias.copy_(update_bias(bias, load, config.bias_speed))
    return figures, loads


def load_batches(data: Any, numbers: range, device: torch.device) -> Iterator[Tensor]:
    """Batches in order, made by other processes where a GPU would wait for them."""
    workers = min((os.cpu_count() or 2) - 1, 30) if device.type == "cuda" else 0
    loader = DataLoader(data, batch_size=None, sampler=numbers, num_workers=workers,
                        pin_memory=device.type == "cuda", prefetch_factor=8 if workers else None)  # fmt: skip
    for ids in loader:
        yield ids.to(device, non_blocking=True)
