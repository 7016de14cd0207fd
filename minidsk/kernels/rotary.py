"""Rotary positions (Su et al., arXiv:2104.09864) of one tensor in one go: pairs are read, turned and written once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minidsk.kernels.launch import can_run, cdiv, jit, next_power_of_2, tl

ROWS = 64  # rows that a program turns


def rotate_reference(x: Tensor, cos: Tensor, sin: Tensor, interleave: bool = True) -> Tensor:
    """The pairs of `x` ``[batch, heads, time, dim]`` turned by the angles of `cos` and `sin` ``[.., time, dim / 2]``.

    Pairs are (x0, x1), (x2, x3), ... with `interleave`, else (x_i, x_{i + dim/2}). The result has first members, then
    second ones.
    """
    first, second = (x[..., 0::2], x[..., 1::2]) if interleave else x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, interleave: bool = True) -> Tensor:
    """As `rotate_reference`, by the kernel where it can run; in the dtype of `x`. Differentiable with respect to `x`.

    `cos` and `sin` ``[batch or 1, heads or 1, time, dim / 2]``.
    """
    if x.numel() == 0 or not can_run(x, cos, sin):
        return rotate_reference(x, cos, sin, interleave)
    return _Rotate.apply(x, cos, sin, interleave)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, interleave: bool) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.interleave = interleave
        return _turned(x, cos, sin, interleave, back=False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, sin, ctx.interleave, back=True), None, None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, interleave: bool, back: bool) -> Tensor:
    """Pairs to turned halves, or halves turned `back` to pairs."""
    batch, heads, time, dim = x.shape
    x = x if x.stride(3) == 1 else x.contiguous()
    angles = torch.broadcast_to(cos.contiguous(), (batch, heads, time, dim // 2))
    y = torch.empty(batch, heads, time, dim, dtype=x.dtype, device=x.device)
    rows = batch * heads * time
    _rotate[(cdiv(rows, ROWS),)](
        x, *x.stride()[:3], cos.contiguous(), sin.contiguous(), *angles.stride()[:3], y, rows, heads, time, dim // 2,
        INTERLEAVE=interleave, BACK=back, HEIGHT=ROWS, WIDTH=next_power_of_2(dim // 2),
    )  # fmt: skip
    return y


@jit
def _rotate(
    x, x_batch, x_head, x_time, cos, sin, angle_batch, angle_head, angle_time, y, rows, heads, time, half,
    INTERLEAVE: tl.constexpr, BACK: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)).to(tl.int64)[:, None]
    pair = tl.arange(0, WIDTH)[None, :]
    inside = (row < rows) & (pair < half)
    t, h, b = row % time, row // time % heads, row // time // heads
    angle = b * angle_batch + h * angle_head + t * angle_time + pair
    c = tl.load(cos + angle, mask=inside, other=0.0).to(tl.float32)
    s = tl.load(sin + angle, mask=inside, other=0.0).to(tl.float32)
    if BACK:
        s = -s
    # Where the first member of a pair stands, and how far behind it the second: side by side, or in halves.
    read, onward = pair, half
    write, behind = pair, half
    if INTERLEAVE:
        if BACK:
            write, behind = 2 * pair, 1
        else:
            read, onward = 2 * pair, 1
    source = x + b * x_batch + h * x_head + t * x_time + read
    first = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(source + onward, mask=inside, other=0.0).to(tl.float32)
    target = y + row * (2 * half) + write
    tl.store(target, (first * c - second * s).to(y.dtype.element_ty), mask=inside)
    tl.store(target + behind, (second * c + first * s).to(y.dtype.element_ty), mask=inside)
