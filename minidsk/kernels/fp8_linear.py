"""A linear layer whose three products are made of FP8 (DeepSeek-V3, section 3.3 and figure 6)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from minidsk.kernels.fp8 import BLOCK, quantize, scaled_matmul


def fp8_linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x @ weight.T`` with `x` ``[..., in]`` in blocks of 1 x 128 and `weight` ``[out, in]`` of 128 x 128.

    In the dtype of `x`, or that of autocast; the gradient of the weight has the weight's dtype, and its master copy
    stays as wide as it is.
    """
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    return _Fp8Linear.apply(x, weight)


class Fp8Linear(nn.Linear):
    """`nn.Linear` without a bias, computed by `fp8_linear`."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` ``[..., in]`` to ``[..., out]``."""
        return fp8_linear(x, self.weight)


class _Fp8Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        codes, scales = quantize(weight, (BLOCK, BLOCK))
        # Kept for the backward pass: the input in blocks along the rows, which is how the weight's gradient adds up.
        ctx.save_for_backward(*quantize(rows.T), codes, scales)
        ctx.kinds = x.dtype, weight.dtype
        return scaled_matmul(quantize(rows), (codes, scales), x.dtype).unflatten(0, x.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_codes, x_scales, codes, scales = ctx.saved_tensors
        narrow, wide = ctx.kinds
        rows = grads[0].flatten(0, -2)
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            # Square blocks: the transposed weight has the transposed codes and scales.
            dx = scaled_matmul(quantize(rows), (codes.T, scales.T), narrow).unflatten(0, grads[0].shape[:-1])
        if ctx.needs_input_grad[1]:
            dweight = scaled_matmul(quantize(rows.T), (x_codes, x_scales), wide)
        return dx, dweight
