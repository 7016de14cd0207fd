"""Attention without the square of scores (Dao, arXiv:2307.08691), for keys and values of different widths.

A program holds a block of queries and walks over the keys; the softmax is kept online, as in `softmax`. MLA's keys
are 192 wide, which is no power of two: they are taken as 128 and 64, two products that add up to one score. What the
backward pass (`attention_backward`) needs beside the result is one number a row: the logarithm of its sum.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from minidsk.kernels.attention_backward import backward, split
from minidsk.kernels.descriptors import descriptor, for_tma
from minidsk.kernels.launch import autotune, can_run, cdiv, jit, on_hopper, tl

WIDEST = 256
"""The widest key or value whose sums fit into a program's registers."""


def attention_reference(q: Tensor, k: Tensor, v: Tensor, causal: bool = True, scale: float | None = None) -> Tensor:
    """``softmax(q k^T scale) v``, all scores held, in float32 at least; see `attention`."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    scores = q.to(wide) @ k.to(wide).mT * scale
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    return (scores.softmax(-1) @ v.to(wide)).to(q.dtype)


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = True, scale: float | None = None) -> Tensor:
    """``softmax(q k^T scale) v`` for each head, a query seeing no later key where `causal`; differentiable once.

    `q` ``[batch, heads, queries, key_width]``, `k` ``[batch, heads, keys, key_width]``, `v` ``[batch, heads, keys,
    value_width]``, to ``[batch, heads, queries, value_width]``; `scale` is ``key_width ** -0.5`` where none is given.
    By the kernel where it can run, else by the reference. Raises `ValueError` for shapes that do not fit.
    """
    _check(q, k, v, causal)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if 0 in (q.numel(), v.numel()) or max(q.shape[-1], v.shape[-1]) > WIDEST or scale <= 0 or not can_run(q, k, v):
        return attention_reference(q, k, v, causal, scale)
    return _Attention.apply(q, k, v, causal, scale)


def _check(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> None:
    if q.shape[:2] != k.shape[:2] or q.shape[3] != k.shape[3]:
        raise ValueError(f"k: shape {tuple(k.shape)} does not fit queries of {tuple(q.shape)}")
    if k.shape[:3] != v.shape[:3]:
        raise ValueError(f"v: shape {tuple(v.shape)} does not fit keys of {tuple(k.shape)}")
    if causal and q.shape[2] != k.shape[2]:
        raise ValueError(f"causal: {q.shape[2]} queries and {k.shape[2]} keys do not line up; give as many of both")
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"dtype: {q.dtype}, {k.dtype} and {v.dtype} differ; give one")


def fits_hopper(q: Tensor, v: Tensor) -> bool:
    """Whether the forward pass is done by `attention_hopper`: on a Hopper, for 16 bits and widths as MLA has them."""
    parts = split(q, v)
    fits = q.dtype != torch.float32 and parts["FIRST"] in (64, 128) and parts["SECOND"] <= 64
    return fits and parts["VALUE"] in (64, 128) and on_hopper(q)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
        batch, heads, queries, _ = q.shape
        # Time before heads, so that joining the heads afterwards moves nothing.
        out = torch.empty(batch, queries, heads, v.shape[3], dtype=q.dtype, device=q.device).transpose(1, 2)
        log_sums = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
        q_map, k_map, v_map = (for_tma(x) for x in (q, k, v))
        ctx.save_for_backward(q, k, v, out, log_sums)
        ctx.causal, ctx.scale = causal, scale
        if fits_hopper(q, v):
            from minidsk.kernels.attention_hopper import forward_hopper

            forward_hopper(q_map, k_map, v_map, out, log_sums, causal, scale / math.log(2), split(q, v))
            return out
        maps = [descriptor(x, [1, 1, 1, 8]) for x in (q_map, q_map, k_map, k_map, v_map)]  # blocks are set when chosen
        _forward[lambda chosen: (cdiv(queries, chosen["BLOCK_Q"]), batch * heads)](
            *maps, out, *out.stride()[:3], log_sums, heads, queries, k.shape[2], v.shape[3], scale / math.log(2),
            CAUSAL=causal, **split(q, v),
        )  # fmt: skip
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Any) -> Any:
        q, k, v, out, log_sums = ctx.saved_tensors
        return *backward(q, k, v, out, log_sums, slopes[0], ctx.causal, ctx.scale), None, None


def _set_blocks(arguments: dict[str, Any]) -> None:
    query, key = arguments["BLOCK_Q"], arguments["BLOCK_K"]
    for name, rows in (("q", query), ("k", key)):
        arguments[f"{name}_first"].block_shape = [1, 1, rows, arguments["FIRST"]]
        arguments[f"{name}_second"].block_shape = [1, 1, rows, max(arguments["SECOND"], 16)]
    arguments["v_map"].block_shape = [1, 1, key, arguments["VALUE"]]


@autotune(
    [({"BLOCK_Q": 128, "BLOCK_K": 64}, 8, 3), ({"BLOCK_Q": 128, "BLOCK_K": 128}, 8, 2),
     ({"BLOCK_Q": 64, "BLOCK_K": 32}, 4, 2)],
    small={"BLOCK_Q": 32, "BLOCK_K": 16}, key=["CAUSAL", "FIRST", "SECOND", "VALUE", "PRECISION"],
    hook=_set_blocks,
)  # fmt: skip
@jit
def _forward(
    q_first, q_second, k_first, k_second, v_map, out, out_batch, out_head, out_row, log_sums,
    heads, queries, keys, value_width, scale, CAUSAL: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr,
    VALUE: tl.constexpr, PRECISION: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    start = (tl.num_programs(0) - 1 - tl.program_id(0)) * BLOCK_Q  # the last queries see most keys: they come first
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    q1 = q_first.load([batch, head, start, 0]).reshape(BLOCK_Q, FIRST)
    q2 = q1
    if SECOND > 0:
        q2 = q_second.load([batch, head, start, FIRST]).reshape(BLOCK_Q, SECOND)
    row = start + tl.arange(0, BLOCK_Q)
    highest = tl.full([BLOCK_Q], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    mixed = tl.zeros([BLOCK_Q, VALUE], tl.float32)
    # Blocks of keys that every query sees need no mask; the others come last.
    whole = start // BLOCK_K * BLOCK_K if CAUSAL else keys // BLOCK_K * BLOCK_K
    end = tl.minimum(start + BLOCK_Q, keys) if CAUSAL else keys
    highest, total, mixed = _walk(
        highest, total, mixed, q1, q2, k_first, k_second, v_map, batch, head, row, 0, whole, keys, scale,
        CAUSAL, False, FIRST, SECOND, VALUE, PRECISION, BLOCK_K,
    )  # fmt: skip
    highest, total, mixed = _walk(
        highest, total, mixed, q1, q2, k_first, k_second, v_map, batch, head, row, whole, end, keys, scale,
        CAUSAL, True, FIRST, SECOND, VALUE, PRECISION, BLOCK_K,
    )  # fmt: skip
    column = tl.arange(0, VALUE)
    out += batch.to(tl.int64) * out_batch + head * out_head
    inside = (row < queries)[:, None] & (column < value_width)[None, :]
    mixed = (mixed / total[:, None]).to(out.dtype.element_ty)
    tl.store(out + row.to(tl.int64)[:, None] * out_row + column[None, :], mixed, mask=inside)
    tl.store(log_sums + tl.program_id(1).to(tl.int64) * queries + row, highest + tl.log2(total), mask=row < queries)


@jit
def _walk(
    highest, total, mixed, q1, q2, k_first, k_second, v_map, batch, head, row, low, high, keys, scale,
    CAUSAL: tl.constexpr, MASKED: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr, VALUE: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """From one block of keys to the next. Exponentials are powers of 2: `scale` holds the factor 1 / ln 2."""
    for at in tl.range(low, high, BLOCK_K):
        k1 = k_first.load([batch, head, at, 0]).reshape(BLOCK_K, FIRST)
        score = tl.dot(q1, k1.T, input_precision=PRECISION)
        if SECOND > 0:
            k2 = k_second.load([batch, head, at, FIRST]).reshape(BLOCK_K, SECOND)
            score = tl.dot(q2, k2.T, score, input_precision=PRECISION)
        if MASKED:
            key = at + tl.arange(0, BLOCK_K)
            seen = key[None, :] <= row[:, None] if CAUSAL else (key < keys)[None, :]
            score = tl.where(seen, score, -float("inf"))
        higher = tl.maximum(highest, tl.max(score, 1) * scale)
        share = tl.exp2(score * scale - higher[:, None])
        fade = tl.exp2(highest - higher)
        total = total * fade + tl.sum(share, 1)
        v = v_map.load([batch, head, at, 0]).reshape(BLOCK_K, VALUE)
        mixed = tl.dot(share.to(v.dtype), v, mixed * fade[:, None], input_precision=PRECISION)
        highest = higher
    return highest, total, mixed
