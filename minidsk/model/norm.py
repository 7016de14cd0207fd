"""Root-mean-square normalisation (Zhang and Sennrich, arXiv:1910.07467)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minidsk.model.operations import Kernels


class RMSNorm(nn.Module):
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last dimension (see `operations.rms_norm`)."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps
        self.kernels = Kernels()

    def forward(self, x: Tensor) -> Tensor:
        """`x` ``[..., size]`` to the same shape and dtype."""
        return self.kernels.operation("norm")(x, self.weight, self.eps)
