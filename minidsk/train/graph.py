"""Gradients by one launch: forward and backward of a training step as a CUDA graph, which is replayed for each batch.

A small model's step is two thousand short kernels. Python starts them one after the other, and the GPU waits for it.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from minidsk.kernels.dispatch import has_grouped_product
from minidsk.model.transformer import MiniDeepSeek
from minidsk.train.loop import Loss, gradients

WARM_UP = 3  # passes before the recording: they compile, and allocate what stays


def graphable(model: MiniDeepSeek) -> bool:
    """Whether a step of training `model` can be a CUDA graph: on a GPU, with nothing that waits for the CPU."""
    if model.device.type != "cuda":
        return False
    products = torch.empty(0, dtype=torch.bfloat16, device=model.device)
    widths = (model.config.hidden_size, model.config.moe_intermediate_size)
    return not model.config.has_experts or has_grouped_product(products, *widths)


class GraphedGradients:
    """What `minidsk.train.loop.gradients` does, recorded at the first batch and replayed for all others of its shape.

    Where no graph can be made, or a batch is cut into slices, gradients are computed as written.
    """

    def __init__(self, model: MiniDeepSeek) -> None:
        self.model = model
        self.able = graphable(model)
        self.ids: Tensor | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def place(self, ids: Tensor) -> Tensor:
        """The batch `ids` at the place from which a graph reads."""
        if not self.able:
            return ids
        if self.ids is None:
            self.ids = ids.clone()
        elif self.ids.shape != ids.shape:
            raise ValueError(f"ids: {list(ids.shape)} does not fit; the graph was recorded for {list(self.ids.shape)}")
        return self.ids.copy_(ids)

    def __call__(self, loss: Loss, rows: Tensor) -> dict[str, Tensor]:
        """Leave the gradients of `loss` of these rows of the batch, `rows` ``[n]``; the loss and its statistics.

        `loss` reads the batch at its `place`, and is the same function of it at every call.
        """
        if not self.able or self.ids is None or len(rows) < len(self.ids):
            return gradients(loss, rows)
        if self.graph is None:
            try:
                self.graph = self._record(loss, rows)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # a driver or an operation that cannot
                self._forget()
                self.able, why = False, str(error).partition("\n")[0]
                warnings.warn(f"no CUDA graph here ({why}): training goes on without it, and is slower", stacklevel=2)
                return gradients(loss, rows)
        self.graph.replay()
        for weight, gradient in self.found:
            weight.grad = gradient
        return {name: figure.clone() for name, figure in self.figures.items()}

    def _record(self, loss: Loss, rows: Tensor) -> torch.cuda.CUDAGraph:
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                gradients(loss, rows)
                self._forget()
        torch.cuda.current_stream().wait_stream(side)
        # Gradients that begin as None are written anew by every replay. Another thread pins batches in the meantime.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.figures = gradients(loss, rows)
        self.rows = rows  # which the graph reads
        self.found = [(weight, weight.grad) for weight in self.model.parameters() if weight.grad is not None]
        return graph

    def _forget(self) -> None:
        self.model.zero_grad(set_to_none=True)
