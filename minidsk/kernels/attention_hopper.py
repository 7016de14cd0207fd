"""The forward pass of `attention` once more, for Hopper alone: who waits for whom is written out.

The tensor cores need neither registers nor instructions while they multiply, so the exponentials of one block can be
taken while the products of another run (Shah et al., FlashAttention-3, arXiv:2407.08608). One warp orders the copies;
two groups of four warps have 64 queries each. A group starts the scores of the next block and the mixture of this one
together, and waits for the scores alone before it takes their exponentials. Keys are walked over from the last to the
first, so that the one block that needs a mask is the first one, before the loop.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from minidsk.kernels.hopper import barriers, buffers, descriptor, gl, gluon, hopper
from minidsk.kernels.launch import cdiv

mbarrier, tma = hopper.mbarrier, hopper.tma

STAGES = 2
LAUNCH = {"num_warps": 4, "maxnreg": 168}  # a third of the registers for each group of warps, before they trade


def forward_hopper(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor, causal: bool, scale: float, parts: dict[str, Any]
) -> None:
    """Write attention's result and the rows' log-sums (base 2); shapes as in `attention`, `parts` as from `split`."""
    batch, heads, queries, _ = q.shape
    first, second, value = parts["FIRST"], max(parts["SECOND"], 16), parts["VALUE"]
    _forward_hopper[(cdiv(queries, 128), batch * heads)](
        descriptor(q, [1, 1, 64, first]), descriptor(q, [1, 1, 64, second]), descriptor(k, [1, 1, 128, first]),
        descriptor(k, [1, 1, 128, second]), descriptor(v, [1, 1, 128, value]), out, *out.stride()[:3], log_sums,
        heads, queries, k.shape[2], out.shape[3], scale, CAUSAL=causal, SECOND=parts["SECOND"], STAGES=STAGES, **LAUNCH,
    )  # fmt: skip


@gluon.jit
def _forward_hopper(
    q_first, q_second, k_first, k_second, v_map, out, out_batch, out_head, out_row, log_sums, heads, queries, keys,
    value_width, scale, CAUSAL: gl.constexpr, SECOND: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    q, k = (buffers(q_first, 2), buffers(q_second, 2)), (buffers(k_first, STAGES), buffers(k_second, STAGES))
    values = buffers(v_map, STAGES)
    q_full, k_full, v_full = barriers(1, 1), barriers(STAGES, 1), barriers(STAGES, 1)
    shared = (q, k, values, q_full, k_full, barriers(STAGES, 2), v_full, barriers(STAGES, 2))
    start = (gl.num_programs(0) - 1 - gl.program_id(0)) * 128  # the last queries see most keys: they come first
    batch, head = gl.program_id(1) // heads, gl.program_id(1) % heads
    end = gl.minimum(start + 128, keys) if CAUSAL else keys
    blocks = gl.cdiv(end, 128)
    out += batch.to(gl.int64) * out_batch + head * out_head
    log_sums += gl.program_id(1).to(gl.int64) * queries
    result = (out, out_row, log_sums, queries, keys, value_width, scale)
    gl.warp_specialize(
        [(_attend, (shared, result, start, blocks, 0, CAUSAL, SECOND, STAGES)),
         (_attend, (shared, result, start, blocks, 1, CAUSAL, SECOND, STAGES)),
         (_copy, (q_first, q_second, k_first, k_second, v_map, shared, batch, head, start, blocks, SECOND, STAGES))],
        [4, 1], [240, 24],
    )  # fmt: skip


@gluon.jit
def _copy(
    q_first, q_second, k_first, k_second, v_map, shared, batch, head, start, blocks, SECOND: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    q, k, values, q_full, k_full, k_free, v_full, v_free = shared
    more: gl.constexpr = SECOND > 0
    first: gl.constexpr = q_first.block_type.shape[3]
    mbarrier.expect(q_full.index(0), 2 * q_first.block_type.nbytes + more * 2 * q_second.block_type.nbytes)
    for group in gl.static_range(2):
        row = start + 64 * group
        tma.async_copy_global_to_shared(q_first, [batch, head, row, 0], q_full.index(0), q[0].index(group))
        if more:
            tma.async_copy_global_to_shared(q_second, [batch, head, row, first], q_full.index(0), q[1].index(group))
    for i in range(blocks):
        at, stage, phase = (blocks - 1 - i) * 128, i % STAGES, (i // STAGES & 1) ^ 1
        mbarrier.wait(k_free.index(stage), phase)
        ready = k_full.index(stage)
        mbarrier.expect(ready, k_first.block_type.nbytes + more * k_second.block_type.nbytes)
        tma.async_copy_global_to_shared(k_first, [batch, head, at, 0], ready, k[0].index(stage))
        if more:
            tma.async_copy_global_to_shared(k_second, [batch, head, at, first], ready, k[1].index(stage))
        mbarrier.wait(v_free.index(stage), phase)
        mbarrier.expect(v_full.index(stage), v_map.block_type.nbytes)
        tma.async_copy_global_to_shared(v_map, [batch, head, at, 0], v_full.index(stage), values.index(stage))


@gluon.jit
def _matrix(buffer, number):
    return buffer.index(number).reshape([buffer.shape[3], buffer.shape[4]])


@gluon.jit
def _scores(q, k, stage, zeros, GROUP: gl.constexpr, SECOND: gl.constexpr):
    rows, columns = _matrix(q[0], GROUP), _matrix(k[0], stage).permute((1, 0))
    score = hopper.warpgroup_mma(rows, columns, zeros, use_acc=False, is_async=True)
    if SECOND > 0:
        score = hopper.warpgroup_mma(_matrix(q[1], GROUP), _matrix(k[1], stage).permute((1, 0)), score, is_async=True)
    return score


@gluon.jit
def _attend(
    shared, result, start, blocks, GROUP: gl.constexpr, CAUSAL: gl.constexpr, SECOND: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    q, k, values, q_full, k_full, k_free, v_full, v_free = shared
    out, out_row, log_sums, queries, keys, value_width, scale = result
    width: gl.constexpr = values.shape[4]
    dtype: gl.constexpr = values.dtype
    by_key: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 128, 16])
    by_value: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, width, 16])
    as_left: gl.constexpr = gl.DotOperandLayout(0, by_value, 2)
    row = start + 64 * GROUP + gl.arange(0, 64, gl.SliceLayout(1, by_key))
    zeros = gl.zeros([64, 128], gl.float32, by_key)
    mixed = gl.zeros([64, width], gl.float32, by_value)

    mbarrier.wait(q_full.index(0), 0)
    mbarrier.wait(k_full.index(0), 0)
    score = hopper.warpgroup_mma_wait(0, deps=(_scores(q, k, 0, zeros, GROUP, SECOND),))
    mbarrier.arrive(k_free.index(0), count=1)
    key = (blocks - 1) * 128 + gl.arange(0, 128, gl.SliceLayout(0, by_key))
    seen = gl.expand_dims(key < keys, 0)
    if CAUSAL:
        seen = gl.expand_dims(key, 0) <= gl.expand_dims(row, 1)
    score = gl.where(seen, score, -float("inf"))
    highest = gl.max(score, 1) * scale
    share = gl.exp2(score * scale - gl.expand_dims(highest, 1))
    total = gl.sum(share, 1)
    share = gl.convert_layout(share.to(dtype), as_left)
    for i in range(1, blocks):
        stage, before = i % STAGES, (i - 1) % STAGES
        mbarrier.wait(k_full.index(stage), i // STAGES & 1)
        score = _scores(q, k, stage, zeros, GROUP, SECOND)
        mbarrier.wait(v_full.index(before), (i - 1) // STAGES & 1)
        mixed = hopper.warpgroup_mma(share, _matrix(values, before), mixed, is_async=True)
        score = hopper.warpgroup_mma_wait(1, deps=(score,))
        mbarrier.arrive(k_free.index(stage), count=1)
        higher = gl.maximum(highest, gl.max(score, 1) * scale)
        next_share = gl.exp2(score * scale - gl.expand_dims(higher, 1))
        fade = gl.exp2(highest - higher)
        total = total * fade + gl.sum(next_share, 1)
        highest = higher
        next_share = gl.convert_layout(next_share.to(dtype), as_left)
        # The wait is made to need the exponentials: so they are taken before it.
        mixed, share, next_share = hopper.warpgroup_mma_wait(0, deps=(mixed, share, next_share))
        mbarrier.arrive(v_free.index(before), count=1)
        mixed *= gl.expand_dims(gl.convert_layout(fade, gl.SliceLayout(1, by_value)), 1)
        share = next_share
    last = blocks - 1
    mbarrier.wait(v_full.index(last % STAGES), last // STAGES & 1)
    mixed = hopper.warpgroup_mma(share, _matrix(values, last % STAGES), mixed, is_async=True)
    mixed = hopper.warpgroup_mma_wait(0, deps=(mixed,))

    gl.store(log_sums + row, highest + gl.log2(total), mask=row < queries)
    mixed = mixed / gl.expand_dims(gl.convert_layout(total, gl.SliceLayout(1, by_value)), 1)
    rows = gl.expand_dims(gl.convert_layout(row, gl.SliceLayout(1, by_value)), 1)
    column = gl.expand_dims(gl.arange(0, width, gl.SliceLayout(0, by_value)), 0)
    inside = (rows < queries) & (column < value_width)
    gl.store(out + rows.to(gl.int64) * out_row + column, mixed.to(out.dtype.element_ty), mask=inside)
