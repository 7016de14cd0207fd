"""Grouped matrix products: each expert's rows times its own matrix, all experts in one launch.

The rows are sorted by expert, and `ends` ``[experts]`` (int32) says where each expert's rows end; there may be any
number of them, none included. Three products make a layer: rows times matrices (forward), rows times transposed
matrices (gradient of the rows), and rows times rows (gradient of the matrices).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minidsk.kernels import dispatch
from minidsk.kernels.descriptors import descriptor, for_tma
from minidsk.kernels.launch import INTERPRETED, Blocks, can_run, cdiv, jit, next_power_of_2, on_hopper, processors, tl


def grouped_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Sorted rows ``[rows, in]`` times `weight` ``[experts, out, in]``, to ``[rows, out]`` in the dtype of `x`.

    The last of `ends` must be `rows`. Differentiable in `x` and `weight`; an expert without rows has gradient 0.
    """
    if x.dtype != weight.dtype:
        raise ValueError(f"weight: {weight.dtype} does not fit rows of {x.dtype}; convert one of them")
    if x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"weight: {list(weight.shape)} does not fit rows of width {x.shape[-1]}")
    if not len(x) or not can_run(x, weight):
        return dispatch.grouped_matmul(x, weight, ends)
    return _GroupedMatmul.apply(x, weight, ends)


class _GroupedMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, ends)
        return rows_times_matrices(x, weight, ends)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, ends = ctx.saved_tensors
        dx = rows_times_matrices(grads[0], weight, ends, transposed=True) if ctx.needs_input_grad[0] else None
        dweight = rows_times_rows(grads[0], x, ends) if ctx.needs_input_grad[1] else None
        return dx, dweight, None


def rows_times_matrices(
    x: Tensor, weight: Tensor, ends: Tensor, transposed: bool = False, blocks: Blocks | None = None
) -> Tensor:
    """``x @ weight[expert].T``, or with `transposed` ``x @ weight[expert]``, for each row's expert."""
    out = weight.shape[2] if transposed else weight.shape[1]
    y = torch.empty(len(x), out, dtype=x.dtype, device=x.device)
    # Short sums are bound by memory, and gain nothing.
    if blocks is None and x.shape[1] >= 512 and out % 8 == 0 and x.element_size() == 2 and on_hopper(x):
        from minidsk.kernels.grouped_hopper import rows_times_matrices_hopper

        rows_times_matrices_hopper(for_tma(x), for_tma(weight), y, ends, transposed)
        return y
    blocks = dict(blocks or forward_blocks(len(x) // len(weight), out, x.element_size()))
    rows, wide = for_tma(x), for_tma(weight)
    inner_first = [1, blocks["INNER"], blocks["OUT"]] if transposed else [1, blocks["OUT"], blocks["INNER"]]
    _rows_times_matrices[(blocks.pop("PER_SM") * processors(x),)](
        descriptor(rows, [blocks["ROWS"], blocks["INNER"]]), descriptor(wide, inner_first), y, ends,
        len(weight), out, wide.shape[1] if transposed else wide.shape[2], y.stride(0),
        EXPERTS=next_power_of_2(len(weight)), TRANSPOSED=transposed, **blocks,
    )  # fmt: skip
    return y


def heaviest_first(ends: Tensor) -> Tensor:
    """The experts by their number of rows, the largest first, int32; of equals the first first."""
    order = torch.empty_like(ends)
    _heaviest_first[(len(ends),)](ends, order, len(ends), EXPERTS=next_power_of_2(len(ends)))
    return order


def rows_times_rows(
    dy: Tensor, x: Tensor, ends: Tensor, order: Tensor | None = None, blocks: Blocks | None = None
) -> Tensor:
    """``dy[rows].T @ x[rows]`` of each expert's rows: ``[rows, out]`` and ``[rows, in]`` to ``[experts, out, in]``.

    Programs start in order, so the longest sums should come first, and the last to end are then short ones: `order`
    is that of the experts, `heaviest_first` where it is not given.
    """
    experts, out, width = len(ends), dy.shape[1], x.shape[1]
    dweight = torch.empty(experts, out, width, dtype=x.dtype, device=x.device)
    blocks = blocks or gradient_blocks(experts, out, width, x.element_size())
    tiles = cdiv(out, blocks["OUT"]) * cdiv(width, blocks["IN"])
    order = heaviest_first(ends) if order is None else order
    _rows_times_rows[(experts * tiles,)](
        descriptor(for_tma(dy), [blocks["ROWS"], blocks["OUT"]]),
        descriptor(for_tma(x), [blocks["ROWS"], blocks["IN"]]),
        dweight, ends, order, out, width, **blocks,
    )  # fmt: skip
    return dweight


def forward_blocks(rows_per_expert: int, out: int, size: int) -> Blocks:
    """Block sizes for the products with matrices, by the shape (results/ch08_blocks says what was tried)."""
    if INTERPRETED:
        return {"ROWS": 16, "OUT": 16, "INNER": 16, "PER_SM": 1, "FLATTEN": True}
    if size == 4:
        return {"ROWS": 64, "OUT": 64, "INNER": 32, "PER_SM": 2, "FLATTEN": True, "num_warps": 4, "num_stages": 2}
    if out <= 128:
        return {"ROWS": 128, "OUT": 128, "INNER": 64, "PER_SM": 2, "FLATTEN": True, "num_warps": 4, "num_stages": 3}
    return {"ROWS": 128, "OUT": 256, "INNER": 64, "PER_SM": 1, "FLATTEN": True, "num_warps": 8, "num_stages": 3}


def gradient_blocks(experts: int, out: int, width: int, size: int) -> Blocks:
    """Block sizes for the gradient of the matrices: small ones where large ones would leave processors idle."""
    if INTERPRETED:
        return {"ROWS": 16, "OUT": 16, "IN": 16}
    if size == 4:
        return {"ROWS": 32, "OUT": 64, "IN": 64, "num_warps": 4, "num_stages": 2}
    if experts * cdiv(out, 128) * cdiv(width, 256) < 128:
        return {"ROWS": 128, "OUT": 64, "IN": 64, "num_warps": 4, "num_stages": 3}
    return {"ROWS": 64, "OUT": 128, "IN": 256, "num_warps": 8, "num_stages": 3}


@jit
def row_blocks_until(ends, experts, ROWS: tl.constexpr, EXPERTS: tl.constexpr):
    """How many blocks of ROWS rows the experts up to each one have; a block never holds rows of two experts."""
    expert = tl.arange(0, EXPERTS)
    end = tl.load(ends + expert, mask=expert < experts, other=0)
    start = tl.load(ends + expert - 1, mask=(expert > 0) & (expert < experts), other=0)
    return tl.cumsum((end - start + ROWS - 1) // ROWS, 0)


@jit
def rows_of_block(block, blocks_until, ends, ROWS: tl.constexpr, EXPERTS: tl.constexpr):
    """The expert of a block of rows, the block's first row, and where the expert's rows end."""
    e = tl.sum((blocks_until <= block).to(tl.int32), 0)
    before = tl.max(tl.where(tl.arange(0, EXPERTS) < e, blocks_until, 0), 0)
    return e, tl.load(ends + e - 1, mask=e > 0, other=0) + (block - before) * ROWS, tl.load(ends + e)


@jit
def _heaviest_first(ends, order, experts, EXPERTS: tl.constexpr):
    # A program for each expert, which counts those before it: one launch, where a sort takes several.
    e, other = tl.program_id(0), tl.arange(0, EXPERTS)
    end = tl.load(ends + other, mask=other < experts, other=0)
    rows = end - tl.load(ends + other - 1, mask=(other > 0) & (other < experts), other=0)
    mine = tl.sum(tl.where(other == e, rows, 0), 0)
    before = (rows > mine) | ((rows == mine) & (other < e))
    tl.store(order + tl.sum(((other < experts) & before).to(tl.int32), 0), e)


@jit
def _rows_times_matrices(
    x, weight, y, ends, experts, out, inner, y_stride,
    ROWS: tl.constexpr, OUT: tl.constexpr, INNER: tl.constexpr, EXPERTS: tl.constexpr, TRANSPOSED: tl.constexpr,
    FLATTEN: tl.constexpr,
):  # fmt: skip
    # Tiles of ROWS rows of one expert by OUT columns, dealt out to as many programs as the GPU runs at a time. All
    # tiles cost the same, however the rows are spread over the experts: that is the balance.
    blocks_until = row_blocks_until(ends, experts, ROWS, EXPERTS)
    across = tl.cdiv(out, OUT)
    for tile in tl.range(tl.program_id(0), tl.max(blocks_until, 0) * across, tl.num_programs(0), flatten=FLATTEN):
        n = tile % across * OUT
        e, m, last = rows_of_block(tile // across, blocks_until, ends, ROWS, EXPERTS)
        total = tl.zeros((ROWS, OUT), tl.float32)
        for k in tl.range(0, inner, INNER):
            a = x.load([m, k])
            if TRANSPOSED:
                b = weight.load([e, k, n]).reshape(INNER, OUT)
            else:
                b = weight.load([e, n, k]).reshape(OUT, INNER).T
            total = tl.dot(a, b, total, input_precision="ieee")
        rows = m + tl.arange(0, ROWS)
        columns = n + tl.arange(0, OUT)
        where = y + rows.to(tl.int64)[:, None] * y_stride + columns[None, :]
        tl.store(where, total.to(y.dtype.element_ty), mask=(rows < last)[:, None] & (columns < out)[None, :])


@jit
def _rows_times_rows(
    dy, x, dweight, ends, order, out, width,
    ROWS: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(width, IN)
    tiles = tl.cdiv(out, OUT) * across
    tile = tl.program_id(0) % tiles
    e = tl.load(order + tl.program_id(0) // tiles)
    first = tl.load(ends + e - 1, mask=e > 0, other=0)
    last = tl.load(ends + e)
    i, j = tile // across * OUT, tile % across * IN
    total = tl.zeros((OUT, IN), tl.float32)
    whole = first + (last - first) // ROWS * ROWS
    for m in tl.range(first, whole, ROWS):
        total = tl.dot(dy.load([m, i]).T, x.load([m, j]), total, input_precision="ieee")
    if whole < last:  # the block that reaches into the next expert's rows
        mine = (whole + tl.arange(0, ROWS) < last)[:, None]
        a, b = tl.where(mine, dy.load([whole, i]), 0.0), tl.where(mine, x.load([whole, j]), 0.0)
        total = tl.dot(a.T, b, total, input_precision="ieee")
    rows, columns = i + tl.arange(0, OUT), j + tl.arange(0, IN)
    where = dweight + (e * out + rows).to(tl.int64)[:, None] * width + columns[None, :]
    tl.store(where, total.to(dweight.dtype.element_ty), mask=(rows < out)[:, None] & (columns < width)[None, :])
