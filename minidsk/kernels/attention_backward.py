"""The gradients of attention (Dao, arXiv:2307.08691, algorithm 2): scores are computed again, never stored.

With the shares ``p = softmax(q k^T scale)`` and the slope ``do`` of the result ``o``::

    dv = p^T do      ds = p (do v^T - delta)      dq = ds k scale      dk = ds^T q scale      delta = sum(do o)

One kernel holds a block of keys and walks over the queries, for dk and dv; another holds queries and walks over the
keys, for dq. That computes p twice, seven products instead of five, but no two programs add to the same number, and
the result is the same each time. With `adding` the first kernel does it all, five products, and its programs add up dq
in memory, in whatever order they come.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from minidsk.kernels.descriptors import descriptor, for_tma
from minidsk.kernels.launch import autotune, cdiv, jit, next_power_of_2, tl


def split(q: Tensor, v: Tensor) -> dict[str, Any]:
    """How the widths are cut into powers of two: keys in FIRST and SECOND (0 for none), values in VALUE."""
    first = max(1 << (q.shape[3].bit_length() - 1), 16)  # the largest power of two that is not wider
    rest = q.shape[3] - first
    second = max(next_power_of_2(rest), 16) if rest > 0 else 0
    return {
        "FIRST": first, "SECOND": second, "VALUE": max(next_power_of_2(v.shape[3]), 16),
        "PRECISION": "tf32x3" if q.dtype == torch.float32 else "tf32",
    }  # fmt: skip


def backward(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor, slope: Tensor, causal: bool, scale: float,
    adding: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dq, dk and dv of `attention` from its inputs, its result, the rows' log-sums (base 2) and the result's slope.

    `adding` needs a GPU: the interpreter has no descriptors that add.
    """
    batch, heads, queries, width = q.shape
    keys, value_width = v.shape[2:]
    delta = torch.empty_like(log_sums)
    slope = for_tma(slope)
    _delta[(cdiv(queries, 32), batch * heads)](
        out, *out.stride()[:3], slope, *slope.stride()[:3], delta, heads, queries, value_width,
        ROWS=32, VALUE=max(next_power_of_2(value_width), 16),
    )  # fmt: skip
    grads = [torch.empty(x.transpose(1, 2).shape, dtype=x.dtype, device=x.device).transpose(1, 2) for x in (q, k, v)]
    parts = split(q, v)
    q, k, v = (for_tma(x) for x in (q, k, v))
    one = [1, 1, 1, 8]  # the blocks are set when they are chosen
    sums = for_tma(torch.empty(q.shape, dtype=torch.float32, device=q.device) if adding else q)
    maps = [descriptor(x, one) for x in (q, q, k, k, v, slope, sums, sums)]
    sizes = (heads, queries, keys, width, value_width, scale / math.log(2), scale)
    dk, dv = ((x, *x.stride()[:3]) for x in grads[1:])
    _keys[lambda chosen: (cdiv(keys, chosen["BLOCK_K"]), batch * heads)](
        *maps, log_sums, delta, *dk, *dv, *sizes, CAUSAL=causal, ADDING=adding, **parts
    )
    if adding:
        grads[0].copy_(sums[..., :width])
    else:
        _queries[lambda chosen: (cdiv(queries, chosen["BLOCK_Q"]), batch * heads)](
            *maps[:6], log_sums, delta, grads[0], *grads[0].stride()[:3], *sizes, CAUSAL=causal, **parts
        )
    return grads[0], grads[1], grads[2]


@jit
def _delta(
    out, out_batch, out_head, out_row, slope, slope_batch, slope_head, slope_row, delta, heads, queries, value_width,
    ROWS: tl.constexpr, VALUE: tl.constexpr,
):  # fmt: skip
    row, column = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64), tl.arange(0, VALUE)[None, :]
    batch, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    inside = (row < queries)[:, None] & (column < value_width)
    o = tl.load(out + batch * out_batch + head * out_head + row[:, None] * out_row + column, mask=inside, other=0.0)
    slope += batch * slope_batch + head * slope_head
    d = tl.load(slope + row[:, None] * slope_row + column, mask=inside, other=0.0)
    total = tl.sum(o.to(tl.float32) * d.to(tl.float32), 1)
    tl.store(delta + tl.program_id(1).to(tl.int64) * queries + row, total, mask=row < queries)


def _set_blocks(arguments: dict[str, Any]) -> None:
    query, key, second = arguments["BLOCK_Q"], arguments["BLOCK_K"], max(arguments["SECOND"], 16)
    for name, rows in (("q", query), ("k", key)):
        arguments[f"{name}_first"].block_shape = [1, 1, rows, arguments["FIRST"]]
        arguments[f"{name}_second"].block_shape = [1, 1, rows, second]
    arguments["v_map"].block_shape = [1, 1, key, arguments["VALUE"]]
    arguments["slope_map"].block_shape = [1, 1, query, arguments["VALUE"]]
    if arguments.get("ADDING"):
        arguments["dq_first"].base.zero_()  # also between the trials of tuning
    if "dq_first" in arguments:
        arguments["dq_first"].block_shape = [1, 1, query, arguments["FIRST"]]
        arguments["dq_second"].block_shape = [1, 1, query, second]


_KEY = ["CAUSAL", "ADDING", "FIRST", "SECOND", "VALUE", "PRECISION"]
_SMALL = {"BLOCK_Q": 16, "BLOCK_K": 32}


@autotune(
    [({"BLOCK_Q": 64, "BLOCK_K": 128}, 8, 2), ({"BLOCK_Q": 32, "BLOCK_K": 64}, 4, 2),
     ({"BLOCK_Q": 32, "BLOCK_K": 32}, 4, 1)],
    small=_SMALL, key=_KEY, hook=_set_blocks,
)  # fmt: skip
@jit
def _keys(
    q_first, q_second, k_first, k_second, v_map, slope_map, dq_first, dq_second, log_sums, delta,
    dk, dk_batch, dk_head, dk_row, dv, dv_batch, dv_head, dv_row, heads, queries, keys, width, value_width,
    scale2, scale, CAUSAL: tl.constexpr, ADDING: tl.constexpr, FIRST: tl.constexpr, SECOND: tl.constexpr,
    VALUE: tl.constexpr, PRECISION: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0) * BLOCK_K  # the first keys are seen by most queries, and come first
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    log_sums += tl.program_id(1).to(tl.int64) * queries
    delta += tl.program_id(1).to(tl.int64) * queries
    k1 = k_first.load([batch, head, start, 0]).reshape(BLOCK_K, FIRST)
    dk1 = tl.zeros([BLOCK_K, FIRST], tl.float32)
    k2, dk2 = k1, dk1
    if SECOND > 0:
        k2 = k_second.load([batch, head, start, FIRST]).reshape(BLOCK_K, SECOND)
        dk2 = tl.zeros([BLOCK_K, SECOND], tl.float32)
    v = v_map.load([batch, head, start, 0]).reshape(BLOCK_K, VALUE)
    dv_sum = tl.zeros([BLOCK_K, VALUE], tl.float32)
    key = start + tl.arange(0, BLOCK_K)
    for at in tl.range(start // BLOCK_Q * BLOCK_Q if CAUSAL else 0, queries, BLOCK_Q):
        row = at + tl.arange(0, BLOCK_Q)
        q1 = q_first.load([batch, head, at, 0]).reshape(BLOCK_Q, FIRST)
        score = tl.dot(k1, q1.T, input_precision=PRECISION)
        if SECOND > 0:
            q2 = q_second.load([batch, head, at, FIRST]).reshape(BLOCK_Q, SECOND)
            score = tl.dot(k2, q2.T, score, input_precision=PRECISION)
        log_sum = tl.load(log_sums + row, mask=row < queries, other=0.0)  # beyond the end q and do are 0: nothing adds
        share = tl.exp2(score * scale2 - log_sum[None, :])
        if CAUSAL:
            share = tl.where(key[:, None] <= row[None, :], share, 0.0)
        do = slope_map.load([batch, head, at, 0]).reshape(BLOCK_Q, VALUE)
        dv_sum = tl.dot(share.to(do.dtype), do, dv_sum, input_precision=PRECISION)
        ds = tl.dot(v, do.T, input_precision=PRECISION)
        ds = (share * (ds - tl.load(delta + row, mask=row < queries, other=0.0)[None, :])).to(q1.dtype)
        dk1 = tl.dot(ds, q1, dk1, input_precision=PRECISION)
        if SECOND > 0:
            dk2 = tl.dot(ds, q2, dk2, input_precision=PRECISION)
        if ADDING:
            # As k^T ds: there the larger of the two sides stands first, where the matrix units want 64 or more.
            dq1 = tl.dot(k1.T, ds, input_precision=PRECISION).T * scale
            dq_first.atomic_add([batch, head, at, 0], dq1.reshape(1, 1, BLOCK_Q, FIRST))
            if SECOND > 0:
                dq2 = tl.dot(k2.T, ds, input_precision=PRECISION).T * scale
                dq_second.atomic_add([batch, head, at, FIRST], dq2.reshape(1, 1, BLOCK_Q, SECOND))
    place = dk + batch.to(tl.int64) * dk_batch + head * dk_head + key.to(tl.int64)[:, None] * dk_row
    _store(place, dk1 * scale, key < keys, 0, width, FIRST)
    if SECOND > 0:
        _store(place, dk2 * scale, key < keys, FIRST, width, SECOND)
    place = dv + batch.to(tl.int64) * dv_batch + head * dv_head + key.to(tl.int64)[:, None] * dv_row
    _store(place, dv_sum, key < keys, 0, value_width, VALUE)


@autotune(
    [({"BLOCK_Q": 64, "BLOCK_K": 32}, 4, 3), ({"BLOCK_Q": 128, "BLOCK_K": 64}, 8, 2),
     ({"BLOCK_Q": 32, "BLOCK_K": 32}, 4, 1)],
    small=_SMALL, key=_KEY, hook=_set_blocks,
)  # fmt: skip
@jit
def _queries(
    q_first, q_second, k_first, k_second, v_map, slope_map, log_sums, delta, dq, dq_batch, dq_head, dq_row,
    heads, queries, keys, width, value_width, scale2, scale, CAUSAL: tl.constexpr, FIRST: tl.constexpr,
    SECOND: tl.constexpr, VALUE: tl.constexpr, PRECISION: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    start = (tl.num_programs(0) - 1 - tl.program_id(0)) * BLOCK_Q
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    q1 = q_first.load([batch, head, start, 0]).reshape(BLOCK_Q, FIRST)
    dq1 = tl.zeros([BLOCK_Q, FIRST], tl.float32)
    q2, dq2 = q1, dq1
    if SECOND > 0:
        q2 = q_second.load([batch, head, start, FIRST]).reshape(BLOCK_Q, SECOND)
        dq2 = tl.zeros([BLOCK_Q, SECOND], tl.float32)
    do = slope_map.load([batch, head, start, 0]).reshape(BLOCK_Q, VALUE)
    row = start + tl.arange(0, BLOCK_Q)
    base = tl.program_id(1).to(tl.int64) * queries
    log_sum = tl.load(log_sums + base + row, mask=row < queries, other=0.0)
    shift = tl.load(delta + base + row, mask=row < queries, other=0.0)
    for at in tl.range(0, tl.minimum(start + BLOCK_Q, keys) if CAUSAL else keys, BLOCK_K):
        key = at + tl.arange(0, BLOCK_K)
        k1 = k_first.load([batch, head, at, 0]).reshape(BLOCK_K, FIRST)
        score = tl.dot(q1, k1.T, input_precision=PRECISION)
        if SECOND > 0:
            k2 = k_second.load([batch, head, at, FIRST]).reshape(BLOCK_K, SECOND)
            score = tl.dot(q2, k2.T, score, input_precision=PRECISION)
        share = tl.exp2(score * scale2 - log_sum[:, None])
        share = tl.where(key[None, :] <= row[:, None] if CAUSAL else (key < keys)[None, :], share, 0.0)
        v = v_map.load([batch, head, at, 0]).reshape(BLOCK_K, VALUE)
        ds = tl.dot(do, v.T, input_precision=PRECISION)
        ds = (share * (ds - shift[:, None])).to(k1.dtype)
        dq1 = tl.dot(ds, k1, dq1, input_precision=PRECISION)
        if SECOND > 0:
            dq2 = tl.dot(ds, k2, dq2, input_precision=PRECISION)
    place = dq + batch.to(tl.int64) * dq_batch + head * dq_head + row.to(tl.int64)[:, None] * dq_row
    _store(place, dq1 * scale, row < queries, 0, width, FIRST)
    if SECOND > 0:
        _store(place, dq2 * scale, row < queries, FIRST, width, SECOND)


@jit
def _store(rows, block, inside, first, width, WIDTH: tl.constexpr):
    column = first + tl.arange(0, WIDTH)[None, :]
    tl.store(rows + column, block.to(rows.dtype.element_ty), mask=inside[:, None] & (column < width))
