"""All routed experts of a layer as one operation: rows are fetched, gated and weighted inside the products.

Compared with gather, two grouped products, an activation and a weighted sum, each by itself, this never writes the
gathered rows, and reads the gate and the up projection once. A token's weight is applied before the down projection,
which is linear: ``w (h W) = (w h) W``. So the gradient of the weight is a product over the expert's inner width, and
the output of the experts need not be kept.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minidsk.kernels import dispatch
from minidsk.kernels.descriptors import descriptor, for_tma
from minidsk.kernels.dispatch import Sorted
from minidsk.kernels.grouped_gemm import (
    heaviest_first,
    row_blocks_until,
    rows_of_block,
    rows_times_matrices,
    rows_times_rows,
)
from minidsk.kernels.launch import INTERPRETED, Blocks, can_run, cdiv, jit, next_power_of_2, processors, tl
from minidsk.kernels.routing import collect, sort_by_expert, spread


def experts_reference(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, plan: Sorted) -> Tensor:
    """What `experts` computes, step by step, in plain torch."""
    gate, up = dispatch.grouped_matmul(dispatch.gather(x, plan), gate_up, plan.ends).chunk(2, -1)
    return dispatch.combine(dispatch.grouped_matmul(F.silu(gate) * up, down, plan.ends), weights, plan)


@torch.compiler.disable  # its kernels are compiled already
def experts(x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    """``sum_k weights[k] down(silu(gate(x)) * up(x))`` over each token's K experts. Differentiable.

    `x` ``[N, H]``; `gate_up` ``[E, 2 I, H]``, gate rows first; `down` ``[E, H, I]``; `weights` and `indices`
    ``[N, K]``. Returns ``[N, H]``.
    """
    plan = sort_by_expert(indices, len(gate_up))
    if not len(x) or not can_run(x, gate_up, down, weights) or x.dtype != gate_up.dtype:
        return experts_reference(x, gate_up, down, weights, plan)
    return _Experts.apply(x, gate_up, down, weights, *plan)


class _Experts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor, weights: Tensor, *sorting: Tensor) -> Tensor:
        plan = Sorted(*sorting)
        gates, inner = gated(x, gate_up, weights, plan)
        ctx.save_for_backward(x, gate_up, down, weights, *plan, gates, inner)
        return collect(rows_times_matrices(inner, down, plan.ends), plan.inverse, len(x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gate_up, down, weights, order, inverse, ends, gates, inner = ctx.saved_tensors
        dy = spread(grads[0], inverse)
        dinner = rows_times_matrices(dy, down, ends, transposed=True)
        dgates, dweights = gated_backward(dinner, gates, weights, order)
        heaviest = heaviest_first(ends)
        ddown = rows_times_rows(dy, inner, ends, heaviest)
        dgate_up = rows_times_rows(dgates, spread(x, inverse), ends, heaviest)
        dx = collect(rows_times_matrices(dgates, gate_up, ends, transposed=True), inverse, len(x))
        return dx, dgate_up, ddown, dweights, None, None, None


def gated(
    x: Tensor, gate_up: Tensor, weights: Tensor, plan: Sorted, fetch: bool | None = None, blocks: Blocks | None = None
) -> tuple[Tensor, Tensor]:
    """Gate and up projection of each expert's tokens, and what goes into the down projection.

    `x` ``[N, H]`` to both projections ``[N K, 2 I]`` and ``weights * silu(gate) * up`` ``[N K, I]``, sorted by expert.
    """
    experts, hidden, k = len(gate_up), x.shape[1], weights.shape[1]
    inner = gate_up.shape[1] // 2
    fetch = fetches(hidden) if fetch is None else fetch
    gates = torch.empty(len(plan.order), 2 * inner, dtype=x.dtype, device=x.device)
    out = torch.empty(len(plan.order), inner, dtype=x.dtype, device=x.device)
    blocks = dict(blocks or gated_blocks(inner, x.element_size()))
    matrices = for_tma(gate_up.unflatten(1, (2, inner)))
    rows = x.contiguous() if fetch else descriptor(for_tma(spread(x, plan.inverse)), [blocks["ROWS"], blocks["INNER"]])
    _gated[(blocks.pop("PER_SM") * processors(x),)](
        rows, descriptor(matrices, [1, 2, blocks["OUT"], blocks["INNER"]]), weights.contiguous(), plan.order,
        plan.ends, gates, out, experts, inner, hidden, k,
        FETCH=fetch, EXPERTS=next_power_of_2(experts), **blocks,
    )  # fmt: skip
    return gates, out


def fetches(hidden: int) -> bool:
    """Whether rows are better fetched one by one within the product than gathered before it and copied in blocks."""
    return hidden <= 512


def gated_backward(dinner: Tensor, gates: Tensor, weights: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """From the gradient of what goes into the down projection to those of the two projections and of the weights.

    `dinner` ``[N K, I]``, `gates` ``[N K, 2 I]`` as `gated` returned them; returns ``[N K, 2 I]`` and ``[N, K]``.
    """
    rows, inner = dinner.shape
    dgates, dweights = torch.empty_like(gates), torch.empty_like(weights, memory_format=torch.contiguous_format)
    _gated_backward[(cdiv(rows, 4),)](
        dinner, gates, weights.contiguous(), order, dgates, dweights, rows, inner,
        ROWS=4, COLUMNS=min(512, next_power_of_2(inner)),
    )  # fmt: skip
    return dgates, dweights


def gated_blocks(inner: int, size: int) -> Blocks:
    """Block sizes of `gated`: OUT columns of the gate and as many of the up projection at a time."""
    if INTERPRETED:
        return {"ROWS": 16, "OUT": 16, "INNER": 16, "PER_SM": 1, "FLATTEN": True}
    if size == 4:
        return {"ROWS": 64, "OUT": 32, "INNER": 32, "PER_SM": 2, "FLATTEN": True, "num_warps": 4, "num_stages": 2}
    return {"ROWS": 128, "OUT": 128, "INNER": 64, "PER_SM": 1, "FLATTEN": True, "num_warps": 8, "num_stages": 3}


@jit
def _gated(
    x, gate_up, weights, order, ends, gates, inner, experts, width, hidden, k, FETCH: tl.constexpr,
    ROWS: tl.constexpr, OUT: tl.constexpr, INNER: tl.constexpr, EXPERTS: tl.constexpr, FLATTEN: tl.constexpr,
):  # fmt: skip
    blocks_until = row_blocks_until(ends, experts, ROWS, EXPERTS)
    across = tl.cdiv(width, OUT)
    for tile in tl.range(tl.program_id(0), tl.max(blocks_until, 0) * across, tl.num_programs(0), flatten=FLATTEN):
        n = tile % across * OUT
        e, m, last = rows_of_block(tile // across, blocks_until, ends, ROWS, EXPERTS)
        rows, columns, depth = m + tl.arange(0, ROWS), n + tl.arange(0, OUT), tl.arange(0, INNER)
        pair = tl.load(order + rows, mask=rows < last, other=0)
        both = tl.zeros((ROWS, 2 * OUT), tl.float32)
        for h in tl.range(0, hidden, INNER):
            if FETCH:
                source = x + (pair // k).to(tl.int64)[:, None] * hidden + (h + depth)[None, :]
                a = tl.load(source, mask=(h + depth < hidden)[None, :], other=0.0).to(gate_up.dtype)
            else:
                a = x.load([m, h])
            b = gate_up.load([e, 0, n, h]).reshape(2 * OUT, INNER)
            both = tl.dot(a, b.T, both, input_precision="ieee")
        gate, up = both.reshape(ROWS, 2, OUT).permute(0, 2, 1).split()
        mask = (rows < last)[:, None] & (columns < width)[None, :]
        where = rows.to(tl.int64)[:, None] * (2 * width) + columns[None, :]
        tl.store(gates + where, gate.to(gates.dtype.element_ty), mask=mask)
        tl.store(gates + where + width, up.to(gates.dtype.element_ty), mask=mask)
        weight = tl.load(weights + pair, mask=rows < last, other=0.0).to(tl.float32)
        y = gate * tl.sigmoid(gate) * up * weight[:, None]
        tl.store(inner + rows.to(tl.int64)[:, None] * width + columns[None, :], y.to(inner.dtype.element_ty), mask=mask)


@jit
def _gated_backward(
    dinner, gates, weights, order, dgates, dweights, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    pair = tl.load(order + row, mask=row < rows, other=0)
    weight = tl.load(weights + pair, mask=row < rows, other=0.0).to(tl.float32)[:, None]
    product = tl.zeros((ROWS,), tl.float32)
    for start in range(0, width, COLUMNS):
        column = start + tl.arange(0, COLUMNS)[None, :]
        mask = (row < rows)[:, None] & (column < width)
        here = row.to(tl.int64)[:, None] * width + column
        there = row.to(tl.int64)[:, None] * (2 * width) + column
        dy = tl.load(dinner + here, mask=mask, other=0.0).to(tl.float32)
        gate = tl.load(gates + there, mask=mask, other=0.0).to(tl.float32)
        up = tl.load(gates + there + width, mask=mask, other=0.0).to(tl.float32)
        share = tl.sigmoid(gate)
        product += tl.sum(dy * gate * share * up, 1)
        dgate = dy * weight * up * share * (1 + gate * (1 - share))
        tl.store(dgates + there, dgate.to(dgates.dtype.element_ty), mask=mask)
        tl.store(dgates + there + width, (dy * weight * gate * share).to(dgates.dtype.element_ty), mask=mask)
    tl.store(dweights + pair, product.to(dweights.dtype.element_ty), mask=row < rows)
