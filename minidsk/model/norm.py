"""Root-mean-square normalisation (Zhang and Sennrich, arXiv:1910.07467)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minidsk.model.precision import at_least_float32


class RMSNorm(nn.Module):
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last dimension; cast down before the weight, as DeepSeek does.

    `kernels`: by whom, as in `ModelConfig`. torch.compile fuses the norm by itself, so there it is torch's.
    """

    def __init__(self, size: int, eps: float = 1e-6, kernels: str = "torch") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps
        self.kernels = kernels

    def forward(self, x: Tensor) -> Tensor:
        """`x` ``[..., size]`` to the same shape and dtype."""
        if self.kernels == "triton" and not torch.compiler.is_compiling():
            from minidsk.kernels.rmsnorm import rms_norm

            return rms_norm(x, self.weight, self.eps)
        wide = at_least_float32(x)
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)
