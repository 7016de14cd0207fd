"""Gradients by one launch: forward and backward of a training step as a CUDA graph, which is replayed for each batch.

A small model's step is two thousand short kernels. Python starts them one after the other, and the GPU waits for it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minidsk.kernels.dispatch import has_grouped_product
from minidsk.model.transformer import MiniDeepSeek
from minidsk.train.loop import Loss, gradients

WARM_UP = 3  # passes before a recording: they compile, and allocate what stays
KEPT = 32  # recordings, each of one shape of a batch


def graphable(model: nn.Module) -> bool:
    """Whether a step of training `model` can be a CUDA graph: ours, on a GPU, with nothing that waits for the CPU."""
    if not isinstance(model, MiniDeepSeek) or model.device.type != "cuda":
        return False
    products = torch.empty(0, dtype=torch.bfloat16, device=model.device)
    widths = (model.config.hidden_size, model.config.moe_intermediate_size)
    return not model.config.has_experts or has_grouped_product(products, *widths)


@dataclass
class Recorded:
    """A graph, the places from which it reads a batch, and those where it leaves figures and gradients."""

    graph: torch.cuda.CUDAGraph
    batch: tuple[Tensor, ...]
    figures: dict[str, Tensor]
    found: list[tuple[nn.Parameter, Tensor]]


class GraphedGradients:
    """What `minidsk.train.loop.gradients` does, recorded at the first batch of a shape and replayed for all others.

    Where no graph can be made, gradients are computed as written.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.able = graphable(model)
        self.kept: dict[tuple[object, ...], Recorded] = {}
        self.pool: Any = None  # graphs take turns, and share their memory

    def __call__(self, loss: Loss, *batch: Tensor) -> dict[str, Tensor]:
        """Add the gradients of `loss` of this batch to what is there; the loss and its statistics.

        `loss` is the same function of a batch at every call, and reads nothing else that changes but the weights.
        """
        if not self.able:
            return gradients(loss, *batch)
        shape = tuple((x.shape, x.dtype) for x in batch)
        recorded = self.kept.pop(shape, None)
        if recorded is None:
            try:
                recorded = self._record(loss, batch)
            except torch.OutOfMemoryError:
                self.kept.clear()
                raise
            except RuntimeError as error:  # a driver or an operation that cannot
                self.able, why = False, str(error).partition("\n")[0]
                warnings.warn(f"no CUDA graph here ({why}): training goes on without it, and is slower", stacklevel=2)
                return gradients(loss, *batch)
        self.kept[shape] = recorded  # the one that was used last stands last
        while len(self.kept) > KEPT:
            del self.kept[next(iter(self.kept))]
        for weight, gradient in recorded.found:
            if weight.grad is gradient:  # of an earlier batch of this step, which the graph is about to overwrite
                weight.grad = gradient.clone()
        for place, part in zip(recorded.batch, batch, strict=True):
            place.copy_(part)
        recorded.graph.replay()
        earlier = [(weight.grad, gradient) for weight, gradient in recorded.found if weight.grad is not None]
        if earlier:
            torch._foreach_add_(*map(list, zip(*earlier, strict=True)))
        for weight, gradient in recorded.found:
            weight.grad = gradient if weight.grad is None else weight.grad
        return {name: figure.clone() for name, figure in recorded.figures.items()}

    def _record(self, loss: Loss, batch: tuple[Tensor, ...]) -> Recorded:
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        weights = list(self.model.parameters())
        batch, before = tuple(x.clone() for x in batch), [weight.grad for weight in weights]
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._forget()
                    gradients(loss, *batch)
            torch.cuda.current_stream().wait_stream(side)
            # Gradients that begin as None are written anew by every replay. Another thread pins batches meanwhile.
            self._forget()
            self.pool = self.pool or torch.cuda.graph_pool_handle()
            with torch.cuda.graph(graph, self.pool, capture_error_mode="thread_local"):
                figures = gradients(loss, *batch)
            return Recorded(graph, batch, figures, [(w, w.grad) for w in weights if w.grad is not None])
        finally:
            for weight, gradient in zip(weights, before, strict=True):
                weight.grad = gradient

    def _forget(self) -> None:
        self.model.zero_grad(set_to_none=True)
