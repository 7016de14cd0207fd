"""Learning from text: forward and backward of the next-token loss, beside transformers on the same weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from minidsk.bench.contest import Call, Contest
from minidsk.bench.plan import Plan
from minidsk.bench.subject import Transformers, make, random_ids, rivals
from minidsk.model.transformer import MiniDeepSeek
from minidsk.train.device import compiled, precision
from minidsk.train.graph import GraphedGradients
from minidsk.train.loop import gradients
from minidsk.train.loss import prediction_losses


def training(plan: Plan, axes: tuple[str, ...], device: torch.device) -> Iterator[Contest]:
    """One contest for each point on these axes.

    On a GPU ours is compiled and replayed from a graph, as the recipes for one train, from float32 weights by bf16
    products; transformers has bf16 weights, which is the faster for it.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    for point in plan.training(axes):
        torch.compiler.reset()  # it would compile a block for eight models, and leave the ninth as it is
        model = make(point.config, device).train()
        ids = random_ids(point.config, point.batch, point.context + 1, device)
        others: dict[str, Call] = {}
        if device.type == "cuda":
            others["ours, not compiled"] = _ours(model, ids)
            others["ours, without a graph"] = _ours(compiled(model), ids)
        others |= {name: _theirs(rival, ids[:, :-1]) for name, rival in rivals(model, dtype).items()}
        ours = _ours(compiled(model), ids, graph=True) if device.type == "cuda" else _ours(model, ids)
        yield Contest(
            "training", point.axis, point.value, f"forward and backward, {point.batch} rows of {point.context} tokens",
            point.batch * point.context, ours, others,
        )  # fmt: skip


def _ours(model: MiniDeepSeek, ids: Tensor, graph: bool = False) -> Call:
    compute = GraphedGradients(model) if graph else gradients

    def loss(ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with precision(model.device, fixed_width=True):
            losses, _ = prediction_losses(model, ids, 0.0)
        return losses["loss"], {}

    def call() -> None:
        compute(loss, ids)
        model.zero_grad(set_to_none=True)

    return call


def _theirs(rival: Transformers, ids: Tensor) -> Call:
    def call() -> None:
        model = rival().train()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        model.zero_grad(set_to_none=True)

    return call
