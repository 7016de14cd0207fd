"""RMSNorm (Zhang and Sennrich, arXiv:1910.07467), forward and backward, cast down before the weight as DeepSeek does.

With ``r = 1 / sqrt(mean(x^2) + eps)`` and ``n = x r``, the forward pass writes ``w n`` and keeps r, one number a row.
The backward pass reads x and dy once: ``dx = r (w dy - n mean(w dy n))``, and ``dw``, a sum over all rows, for which
each program adds up its own rows in registers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minidsk.kernels.launch import can_run, cdiv, jit, processors, tl
from minidsk.kernels.softmax import LONGEST_ROW, as_rows, row_blocks


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """``weight * (x / sqrt(mean(x^2) + eps))``, the quotient in float32 and cast down before the weight."""
    wide = x if x.dtype == torch.float64 else x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Normalise the last dimension of `x` ``[..., size]`` and multiply by `weight` ``[size]``; differentiable.

    By the kernel where it can run, else by the reference. The result has the dtype of ``weight * x``.
    """
    if x.numel() == 0 or x.shape[-1] > LONGEST_ROW or not can_run(x, weight):
        return rms_norm_reference(x, weight, eps)
    return _RMSNorm.apply(x, weight, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        rows, weight = as_rows(x), weight.contiguous()
        y = torch.empty(rows.shape, dtype=torch.promote_types(x.dtype, weight.dtype), device=x.device)
        inverse = torch.empty(len(rows), dtype=torch.float32, device=x.device)
        width, height, warps = row_blocks(rows.shape[1])
        _forward[(cdiv(len(rows), height),)](
            rows, rows.stride(0), weight, y, inverse, *rows.shape, eps, HEIGHT=height, WIDTH=width, num_warps=warps
        )
        ctx.save_for_backward(rows, weight, inverse)
        return y.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        rows, weight, inverse = ctx.saved_tensors
        slope = as_rows(slopes[0])
        width, height, warps = row_blocks(rows.shape[1])
        programs = min(cdiv(len(rows), height), processors(rows) * max(1, 12 // warps))
        dx = torch.empty(rows.shape, dtype=rows.dtype, device=rows.device)
        parts = torch.empty(programs, rows.shape[1], dtype=torch.float32, device=rows.device)
        _backward[(programs,)](
            rows, rows.stride(0), weight, inverse, slope, slope.stride(0), dx, parts, *rows.shape,
            HEIGHT=height, WIDTH=width, STAGES=1, num_warps=warps,
        )  # fmt: skip
        return dx.view(slopes[0].shape), parts.sum(0).to(weight.dtype), None


@jit
def _forward(x, x_row, weight, y, inverse, rows, columns, eps, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    row = (tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)).to(tl.int64)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    inside = (row < rows) & (column < columns)
    value = tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(weight + column, mask=column < columns, other=0.0).to(tl.float32)
    factor = tl.rsqrt(tl.sum(value * value, 1, keep_dims=True) / columns + eps)
    normal = (value * factor).to(x.dtype.element_ty).to(tl.float32)  # cast down before the weight
    tl.store(y + row * columns + column, (normal * scale).to(y.dtype.element_ty), mask=inside)
    tl.store(inverse + row, factor, mask=row < rows)


@jit
def _backward(
    x, x_row, weight, inverse, dy, dy_row, dx, parts, rows, columns,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, WIDTH)[None, :]
    within = column < columns
    scale = tl.load(weight + column, mask=within, other=0.0).to(tl.float32)
    sums = tl.zeros([HEIGHT, WIDTH], tl.float32)
    step = tl.num_programs(0) * HEIGHT
    for start in tl.range(tl.program_id(0) * HEIGHT, rows, step, num_stages=STAGES):
        row = (start + tl.arange(0, HEIGHT)).to(tl.int64)[:, None]
        inside = (row < rows) & within
        value = tl.load(x + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
        slope = tl.load(dy + row * dy_row + column, mask=inside, other=0.0).to(tl.float32)
        factor = tl.load(inverse + row, mask=row < rows, other=0.0)
        normal = value * factor
        sums += slope * normal.to(x.dtype.element_ty).to(tl.float32)
        slope *= scale
        mean = tl.sum(slope * normal, 1, keep_dims=True) / columns
        slope = factor * (slope - normal * mean)
        tl.store(dx + row * columns + column, slope.to(dx.dtype.element_ty), mask=inside)
    part = parts + tl.program_id(0) * columns + column
    tl.store(part, tl.sum(sums, 0, keep_dims=True), mask=within)
