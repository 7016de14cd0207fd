"""Tokens to experts and back: sort by counting, gather rows, add up each token's results.

A sort of N K numbers below `experts` needs no comparisons: count each block's share of every expert, add the counts
up, and every pair knows its place. Nothing here waits for the GPU, and every result is the same in every run: no
atomics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minidsk.kernels import dispatch
from minidsk.kernels.dispatch import Sorted
from minidsk.kernels.launch import INTERPRETED, Blocks, can_run, cdiv, jit, next_power_of_2, tl


def sort_by_expert(indices: Tensor, experts: int, blocks: Blocks | None = None) -> Sorted:
    """Sort the choices `indices` ``[N, K]``, whole numbers below `experts`; stable."""
    pairs = indices.numel()
    if not pairs or not can_run(torch.empty(0, device=indices.device)):
        return dispatch.sort_by_expert(indices, experts)
    flat = indices.contiguous().view(-1)
    sizes = {"EXPERTS": next_power_of_2(experts), **(blocks or sorting_blocks(experts))}
    count = cdiv(pairs, sizes["PAIRS"])
    order, inverse = flat.new_empty(2, pairs, dtype=torch.int32)
    ends = flat.new_empty(experts, dtype=torch.int32)
    counts = flat.new_empty(experts * count, dtype=torch.int32)  # expert by expert, block by block
    _count[(count,)](flat, counts, pairs, experts, count, **sizes)
    until = counts.cumsum(0, dtype=torch.int32)
    _place[(count,)](flat, counts, until, order, inverse, ends, pairs, experts, count, **sizes)
    return Sorted(order, inverse, ends)


def sorting_blocks(experts: int) -> Blocks:
    """Pairs that a program sorts, and how many of them at a time (results/ch08_blocks says what was tried)."""
    chunk = max(16, min(128, 8192 // next_power_of_2(experts)))
    return {"PAIRS": chunk if INTERPRETED else 256, "CHUNK": chunk}


@jit
def _count(indices, counts, pairs, experts, blocks, PAIRS: tl.constexpr, CHUNK: tl.constexpr, EXPERTS: tl.constexpr):
    block = tl.program_id(0)
    expert = tl.arange(0, EXPERTS)
    mine = tl.zeros((EXPERTS,), tl.int32)
    for start in range(0, PAIRS, CHUNK):
        pair = block * PAIRS + start + tl.arange(0, CHUNK)
        chosen = tl.load(indices + pair, mask=pair < pairs, other=-1)
        mine += tl.sum((chosen[:, None] == expert[None, :]).to(tl.int32), 0)
    tl.store(counts + expert * blocks + block, mine, mask=expert < experts)


@jit
def _place(
    indices, counts, until, order, inverse, ends, pairs, experts, blocks,
    PAIRS: tl.constexpr, CHUNK: tl.constexpr, EXPERTS: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    expert = tl.arange(0, EXPERTS)
    cell, there = expert * blocks + block, expert < experts
    end = tl.load(until + cell, mask=there, other=0)
    if block == blocks - 1:
        tl.store(ends + expert, end, mask=there)
    next_place = end - tl.load(counts + cell, mask=there, other=0)
    for start in range(0, PAIRS, CHUNK):
        pair = block * PAIRS + start + tl.arange(0, CHUNK)
        chosen = tl.load(indices + pair, mask=pair < pairs, other=-1)
        marks = (chosen[:, None] == expert[None, :]).to(tl.int32)
        place = tl.sum(marks * (tl.cumsum(marks, 0) - 1 + next_place[None, :]), 1)
        tl.store(inverse + pair, place, mask=pair < pairs)
        tl.store(order + place, pair, mask=pair < pairs)
        next_place += tl.sum(marks, 0)


def gather(x: Tensor, plan: Sorted) -> Tensor:
    """Each token's row once for each chosen expert, sorted by expert: ``[N, H]`` to ``[N K, H]``. Differentiable."""
    return _Gather.apply(x, *plan) if len(x) and can_run(x) else dispatch.gather(x, plan)


def combine(y: Tensor, weights: Tensor, plan: Sorted) -> Tensor:
    """Sum of each token's K rows of `y` ``[N K, H]``, times `weights` ``[N, K]``, to ``[N, H]``. Differentiable.

    Products and sums are float32 and rounded once.
    """
    return _Combine.apply(y, weights, *plan) if len(y) and can_run(y, weights) else dispatch.combine(y, weights, plan)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor, ends: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.tokens = len(x)
        return spread(x, inverse)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (inverse,) = ctx.saved_tensors
        return collect(grads[0], inverse, ctx.tokens), None, None, None


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weights: Tensor, order: Tensor, inverse: Tensor, ends: Tensor) -> Tensor:
        ctx.save_for_backward(y, weights, inverse)
        return collect(y, inverse, len(weights), weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, weights, inverse = ctx.saved_tensors
        dweights = torch.empty_like(weights, memory_format=torch.contiguous_format)
        dy = spread(grads[0], inverse, weights, y, dweights)
        return dy, dweights, None, None, None


def spread(
    x: Tensor, inverse: Tensor, weights: Tensor | None = None, y: Tensor | None = None, products: Tensor | None = None
) -> Tensor:
    """Row n of `x` ``[N, H]``, times its `weights` ``[N, K]``, to each of its K places: ``[N K, H]``.

    With `y` ``[N K, H]``, also each row of x times the row of y at that place, into `products` ``[N, K]``.
    """
    x, y = _plain(x), None if y is None else _plain(y)
    out = torch.empty(len(inverse), x.shape[1], dtype=x.dtype, device=x.device)
    k = len(inverse) // len(x)
    weights = None if weights is None else weights.contiguous()
    _spread[(cdiv(len(x), TOKENS),)](
        x, weights, y, products, inverse, out, len(x), x.shape[1], x.stride(0), 0 if y is None else y.stride(0),
        K=k, TOKENS=TOKENS, COLUMNS=_columns(x.shape[1]),
    )  # fmt: skip
    return out


def collect(y: Tensor, inverse: Tensor, tokens: int, weights: Tensor | None = None) -> Tensor:
    """The sum of the K rows of `y` ``[N K, H]`` that belong to each token, times `weights` ``[N, K]``: ``[N, H]``."""
    y = _plain(y)
    out = torch.empty(tokens, y.shape[1], dtype=y.dtype, device=y.device)
    weights = None if weights is None else weights.contiguous()
    grid = (cdiv(tokens, TOKENS), cdiv(y.shape[1], _columns(y.shape[1])))
    _collect[grid](y, weights, inverse, out, tokens, y.shape[1], y.stride(0), K=len(inverse) // tokens, TOKENS=TOKENS,
                   COLUMNS=_columns(y.shape[1]))  # fmt: skip
    return out


TOKENS = 4


def _columns(width: int) -> int:
    return min(512, next_power_of_2(width))


def _plain(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


@jit
def _spread(
    x, weights, y, products, inverse, out, tokens, width, x_stride, y_stride,
    K: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    here = token < tokens
    for k in range(K):
        place = tl.load(inverse + token * K + k, mask=here, other=0).to(tl.int64)[:, None]
        weight = tl.full((TOKENS,), 1.0, tl.float32)
        if weights is not None:
            weight = tl.load(weights + token * K + k, mask=here, other=0.0).to(tl.float32)
        product = tl.zeros((TOKENS,), tl.float32)
        for start in range(0, width, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            inside = here[:, None] & (column < width)
            row = tl.load(x + token.to(tl.int64)[:, None] * x_stride + column, mask=inside, other=0.0).to(tl.float32)
            if y is not None:
                other = tl.load(y + place * y_stride + column, mask=inside, other=0.0).to(tl.float32)
                product += tl.sum(row * other, 1)
            tl.store(out + place * width + column, (row * weight[:, None]).to(out.dtype.element_ty), mask=inside)
        if y is not None:
            tl.store(products + token * K + k, product.to(products.dtype.element_ty), mask=here)


@jit
def _collect(
    y, weights, inverse, out, tokens, width, y_stride,
    K: tl.constexpr, TOKENS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    here = token < tokens
    inside = here[:, None] & (column < width)
    total = tl.zeros((TOKENS, COLUMNS), tl.float32)
    for k in tl.static_range(K):
        place = tl.load(inverse + token * K + k, mask=here, other=0).to(tl.int64)[:, None]
        row = tl.load(y + place * y_stride + column, mask=inside, other=0.0).to(tl.float32)
        if weights is not None:
            row *= tl.load(weights + token * K + k, mask=here, other=0.0).to(tl.float32)[:, None]
        total += row
    tl.store(out + token.to(tl.int64)[:, None] * width + column, total.to(out.dtype.element_ty), mask=inside)
