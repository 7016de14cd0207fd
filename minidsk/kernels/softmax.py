"""Softmax over the last dimension: every number read once and written once, where a row fits into registers.

A longer row is read twice: once for its maximum and its sum, kept together online (Milakov and Gimelshein,
arXiv:1805.02867), once to write. The second reading goes backwards, so that it begins with what is still in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minidsk.kernels.launch import can_run, cdiv, jit, next_power_of_2, tl

LONGEST_ROW = 32768
"""Columns that fit into the registers of one program."""


def softmax_reference(x: Tensor) -> Tensor:
    """``exp(x - max) / sum(exp(x - max))`` over the last dimension, by torch, in float32 inside."""
    return torch.softmax(x, dim=-1)


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last dimension of `x` ``[..., columns]``, same shape and dtype; differentiable.

    By the kernel where it can run, else by the reference.
    """
    if x.ndim == 0 or x.numel() == 0 or not can_run(x):
        return softmax_reference(x)
    return _Softmax.apply(x)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows = as_rows(x)
        y = torch.empty_like(rows, memory_format=torch.contiguous_format)
        launch(_softmax_row, _softmax_long_row, rows, y)
        ctx.save_for_backward(y)
        return y.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        (y,) = ctx.saved_tensors
        slope = as_rows(slopes[0])
        dx = torch.empty_like(y)
        launch(_backward_row, _backward_long_row, y, slope, dx)
        return dx.view(slopes[0].shape)


def as_rows(x: Tensor) -> Tensor:
    """``[..., columns]`` as ``[rows, columns]`` with neighbours side by side; a copy only where strides demand it."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 or rows.shape[1] == 1 else rows.contiguous()


def launch(short: Any, long: Any, *arrays: Tensor) -> None:
    """Run `short` where a row fits into one program, else `long`, on arrays ``[rows, columns]``."""
    rows, columns = arrays[0].shape
    pointers = [part for x in arrays for part in (x, x.stride(0))]
    if columns > LONGEST_ROW:
        long[(rows,)](*pointers, columns, BLOCK=16384, num_warps=32)
        return
    width, height, warps = row_blocks(columns)
    short[(cdiv(rows, height),)](*pointers, rows, columns, HEIGHT=height, WIDTH=width, num_warps=warps)


def row_blocks(columns: int) -> tuple[int, int, int]:
    """Columns (a power of two) and rows that one program takes, and its warps: some 32 numbers a thread."""
    width = max(next_power_of_2(columns), 16)
    return width, max(1, 2048 // width), min(max(width // 1024, 4), 32)


@jit
def _softmax_row(x, x_row, y, y_row, rows, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    row = (tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)).to(tl.int64)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    inside = (row < rows) & (column < columns)
    # Beyond the end stands -inf, whose exponential is 0; rows beyond the last are never written.
    value = tl.load(x + row * x_row + column, mask=inside, other=-float("inf")).to(tl.float32)
    value = tl.exp(value - tl.max(value, 1, keep_dims=True))
    value = value / tl.sum(value, 1, keep_dims=True)
    tl.store(y + row * y_row + column, value.to(y.dtype.element_ty), mask=inside)


@jit
def _softmax_long_row(x, x_row, y, y_row, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    highest = tl.full([BLOCK], -float("inf"), tl.float32)  # one maximum and one sum for each lane
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + offsets
        value = tl.load(x + row * x_row + column, mask=column < columns, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(highest, value)
        base = tl.where(higher == -float("inf"), 0.0, higher)  # a lane that has seen nothing: not inf - inf
        total = total * tl.exp(highest - base) + tl.exp(value - base)
        highest = higher
    top = tl.max(highest, 0)
    scale = 1.0 / tl.sum(total * tl.exp(highest - top), 0)
    for back in range(0, columns, BLOCK):
        column = (tl.cdiv(columns, BLOCK) - 1) * BLOCK - back + offsets
        value = tl.load(x + row * x_row + column, mask=column < columns, other=-float("inf")).to(tl.float32)
        tl.store(y + row * y_row + column, (tl.exp(value - top) * scale).to(y.dtype.element_ty), mask=column < columns)


@jit
def _backward_row(y, y_row, dy, dy_row, dx, dx_row, rows, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    row = (tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)).to(tl.int64)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    inside = (row < rows) & (column < columns)
    share = tl.load(y + row * y_row + column, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(dy + row * dy_row + column, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(share * slope, 1, keep_dims=True)
    tl.store(dx + row * dx_row + column, (share * (slope - mean)).to(dx.dtype.element_ty), mask=inside)


@jit
def _backward_long_row(y, y_row, dy, dy_row, dx, dx_row, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    products = tl.zeros([BLOCK], tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + offsets
        share = tl.load(y + row * y_row + column, mask=column < columns, other=0.0).to(tl.float32)
        products += share * tl.load(dy + row * dy_row + column, mask=column < columns, other=0.0).to(tl.float32)
    mean = tl.sum(products, 0)
    for back in range(0, columns, BLOCK):
        column = (tl.cdiv(columns, BLOCK) - 1) * BLOCK - back + offsets
        share = tl.load(y + row * y_row + column, mask=column < columns, other=0.0).to(tl.float32)
        slope = tl.load(dy + row * dy_row + column, mask=column < columns, other=0.0).to(tl.float32)
        result = share * (slope - mean)
        tl.store(dx + row * dx_row + column, result.to(dx.dtype.element_ty), mask=column < columns)
