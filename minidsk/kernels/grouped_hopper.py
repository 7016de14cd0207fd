"""Rows times matrices of `grouped_gemm` once more, for Hopper alone: what Triton decides otherwise is written out.

One warp only orders copies; it runs ahead into the next tile while two groups of four warps still write out the last
one. Each group has half of a tile's rows, and leaves a product under way while it asks for the next.
"""

from __future__ import annotations

from torch import Tensor

from minidsk.kernels.hopper import barriers, buffers, descriptor, gl, gluon, hopper
from minidsk.kernels.launch import processors

mbarrier, tma = hopper.mbarrier, hopper.tma

INNER, STAGES = 64, 3
LAUNCH = {"num_warps": 4, "maxnreg": 168}  # a third of the registers for each group of warps, before they trade


def rows_times_matrices_hopper(x: Tensor, weight: Tensor, y: Tensor, ends: Tensor, transposed: bool) -> None:
    """Write ``x @ weight[expert].T``, or with `transposed` ``x @ weight[expert]``, into `y` ``[rows, out]``.

    `x` ``[rows, in]`` and `weight` ``[experts, out, in]`` (or ``[experts, in, out]``) are as `for_tma` returns them.
    """
    out = y.shape[1]
    # 256 by 128 or 128 by 256: both read as little, and one of them often leaves less of a row of tiles empty.
    rows, columns = (64, 256) if out % 256 == 0 else (128, 128)
    block = [1, INNER, columns] if transposed else [1, columns, INNER]
    _rows_times_matrices_hopper[(processors(x),)](
        descriptor(x, [rows, INNER]), descriptor(weight, block), descriptor(y, [rows, columns]), y, y.stride(0), ends,
        len(ends), out, x.shape[1], TRANSPOSED=transposed, STAGES=STAGES, **LAUNCH,
    )  # fmt: skip


@gluon.jit
def _rows_times_matrices_hopper(
    x, weight, y_map, y, y_stride, ends, experts, out, inner, TRANSPOSED: gl.constexpr, STAGES: gl.constexpr
):  # fmt: skip
    shared = (buffers(x, 2 * STAGES), buffers(weight, STAGES), barriers(STAGES, 1), barriers(STAGES, 2))
    sizes, result = (ends, experts, out, inner), (y_map, buffers(y_map, 2), y, y_stride)
    columns: gl.constexpr = y_map.block_type.shape[1]
    gl.warp_specialize(
        [(_multiply, (shared, result, sizes, 0, TRANSPOSED, STAGES)),
         (_multiply, (shared, result, sizes, 1, TRANSPOSED, STAGES)),
         (_copy, (x, weight, shared, sizes, columns, TRANSPOSED, STAGES))],
        [4, 1], [240, 24],
    )  # fmt: skip


@gluon.jit
def _rows_of(expert, ends, experts):
    """Where an expert's rows begin, and where they end; none for the one after the last."""
    first = gl.load(ends + expert - 1, mask=expert > 0, other=0)
    return first, gl.load(ends + expert, mask=expert < experts, other=first)


@gluon.jit
def _find(block, expert, before, ends, experts, ROWS: gl.constexpr):
    """From an expert on, with `before` blocks of rows before its first, the expert of a block, and its `before`.

    Also where the block's rows begin, and where the expert's end. Past the last block the expert is `experts`.
    """
    first, last = _rows_of(expert, ends, experts)
    while (expert < experts) & (block >= before + gl.cdiv(last - first, ROWS)):
        before += gl.cdiv(last - first, ROWS)
        expert += 1
        first, last = _rows_of(expert, ends, experts)
    return expert, before, first + (block - before) * ROWS, last


@gluon.jit
def _copy(x, weight, shared, sizes, COLUMNS: gl.constexpr, TRANSPOSED: gl.constexpr, STAGES: gl.constexpr):
    left, right, full, free = shared
    ends, experts, out, inner = sizes
    rows: gl.constexpr = x.block_type.shape[0]
    depth: gl.constexpr = x.block_type.shape[1]
    across = gl.cdiv(out, COLUMNS)
    step, tile = 0, gl.program_id(0)
    expert, before, row, _ = _find(tile // across, tile * 0, tile * 0, ends, experts, 2 * rows)
    while expert < experts:
        column = tile % across * COLUMNS
        for k in range(0, inner, depth):
            stage = step % STAGES
            ready = full.index(stage)
            mbarrier.wait(free.index(stage), (step // STAGES & 1) ^ 1)
            mbarrier.expect(ready, 2 * x.block_type.nbytes + weight.block_type.nbytes)
            for group in gl.static_range(2):
                tma.async_copy_global_to_shared(x, [row + rows * group, k], ready, left.index(2 * stage + group))
            if TRANSPOSED:
                tma.async_copy_global_to_shared(weight, [expert, k, column], ready, right.index(stage))
            else:
                tma.async_copy_global_to_shared(weight, [expert, column, k], ready, right.index(stage))
            step += 1
        tile += gl.num_programs(0)
        expert, before, row, _ = _find(tile // across, expert, before, ends, experts, 2 * rows)


@gluon.jit
def _multiply(shared, result, sizes, GROUP: gl.constexpr, TRANSPOSED: gl.constexpr, STAGES: gl.constexpr):
    left, right, full, free = shared
    y_map, results, y, y_stride = result
    ends, experts, out, inner = sizes
    rows: gl.constexpr = y_map.block_type.shape[0]
    width: gl.constexpr = y_map.block_type.shape[1]
    depth: gl.constexpr = left.shape[2]
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, width, 16])
    zeros = gl.zeros([rows, width], gl.float32, layout)
    across = gl.cdiv(out, width)
    step, tile = 0, gl.program_id(0)
    expert, before, row, last = _find(tile // across, tile * 0, tile * 0, ends, experts, 2 * rows)
    while expert < experts:
        total = zeros
        start, end, column = row + rows * GROUP, last, tile % across * width
        # An expert's last tile may have no rows for the second group: the first has the tensor cores for itself.
        busy = inner if start < end else 0
        for k in range(0, busy, depth):
            stage = step % STAGES
            mbarrier.wait(full.index(stage), step // STAGES & 1)
            matrix = right.index(stage).reshape([right.shape[2], right.shape[3]])
            if not TRANSPOSED:
                matrix = matrix.permute((1, 0))
            product = hopper.warpgroup_mma(left.index(2 * stage + GROUP), matrix, total, is_async=True)
            total = hopper.warpgroup_mma_wait(1, deps=(product,))
            mbarrier.arrive(free.index((step + STAGES - 1) % STAGES), count=1, pred=k > 0)
            step += 1
        for k in range(busy, inner, depth):
            mbarrier.wait(full.index(step % STAGES), step // STAGES & 1)
            mbarrier.arrive(free.index((step + STAGES - 1) % STAGES), count=1, pred=k > 0)
            step += 1
        tile += gl.num_programs(0)
        expert, before, row, last = _find(tile // across, expert, before, ends, experts, 2 * rows)
        total = hopper.warpgroup_mma_wait(0, deps=(total,)).to(y_map.dtype)
        mbarrier.arrive(free.index((step + STAGES - 1) % STAGES), count=1)
        if start + rows <= end:
            # From shared memory the copy engine writes the result, while this group is at its next tile.
            tma.store_wait(pendings=0)
            results.index(GROUP).store(total)
            hopper.fence_async_shared()
            tma.async_copy_shared_to_global(y_map, [start, column], results.index(GROUP))
        else:  # the copy engine would write over the next expert's rows
            mine = gl.expand_dims(start + gl.arange(0, rows, gl.SliceLayout(1, layout)), 1)
            columns = gl.expand_dims(column + gl.arange(0, width, gl.SliceLayout(0, layout)), 0)
            gl.store(y + mine.to(gl.int64) * y_stride + columns, total, mask=(mine < end) & (columns < out))
    tma.store_wait(pendings=0)
