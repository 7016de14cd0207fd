"""The product of `fp8` once more, for Hopper alone: what Triton decides otherwise is written out.

In `fp8` the tensor cores wait while the warps scale and add. Here one warp only orders copies, and three groups of four
warps multiply, 64 rows each, at their own pace: while one scales and adds, the products of the others run, as in
DeepSeek's own kernels (V3, section 3.3.2). Together they take a tile of 192 by 128, which reads less for each product
than one of 64 by 128; a tile of 128 by 256 would read less still, but its sums do not fit into the registers.
"""

from __future__ import annotations

from torch import Tensor

from minidsk.kernels.hopper import barriers, buffers, descriptor, gl, gluon, hopper
from minidsk.kernels.launch import cdiv, processors

mbarrier, tma = hopper.mbarrier, hopper.tma

GROUPS, ROWS, COLUMNS, DEPTH = 3, 64, 128, 128  # the kernel is written for these: three times `_multiply`, 64 rows each
STAGES = 4
LAUNCH = {"num_warps": 4, "maxnreg": 128}  # a quarter of the registers for each group of warps, before they trade


def scaled_matmul_hopper(codes: Tensor, scales: Tensor, b_codes: Tensor, b_scales: Tensor, y: Tensor) -> None:
    """Write ``a @ b.T`` of codes ``[M, K]`` and ``[N, K]`` into `y` ``[M, N]``, in 16 bits and N a multiple of 8.

    `scales` are of blocks of 1 x 128, `b_scales` of 128 x 128; rows of codes are as the copy engine reads them.
    """
    (m, k), n = codes.shape, len(b_codes)
    tiles = cdiv(m, GROUPS * ROWS) * cdiv(n, COLUMNS)
    _scaled_matmul_hopper[(min(tiles, processors(codes)),)](
        descriptor(codes, [ROWS, DEPTH]), descriptor(b_codes, [COLUMNS, DEPTH]), scales, b_scales,
        descriptor(y, [ROWS, COLUMNS]), m, n, k, *scales.stride(), *b_scales.stride(),
        GROUPS=GROUPS, STAGES=STAGES, **LAUNCH,
    )  # fmt: skip


@gluon.jit
def _scaled_matmul_hopper(
    a, b, a_scales, b_scales, y, m, n, k, a_row, a_column, b_row, b_column, GROUPS: gl.constexpr, STAGES: gl.constexpr
):  # fmt: skip
    left, right = buffers(a, GROUPS * STAGES), buffers(b, STAGES)
    shared = (left, right, barriers(STAGES, 1), barriers(STAGES, GROUPS))
    pointers, sizes = (a_scales, b_scales, y, buffers(y, GROUPS)), (m, n, k)
    strides = (a_row, a_column, b_row, b_column)
    gl.warp_specialize(
        [(_multiply, (shared, pointers, sizes, strides, 0, GROUPS, STAGES)),
         (_multiply, (shared, pointers, sizes, strides, 1, GROUPS, STAGES)),
         (_multiply, (shared, pointers, sizes, strides, 2, GROUPS, STAGES)),
         (_copy, (a, b, shared, sizes, GROUPS, STAGES))],
        [4, 4, 1], [160, 160, 24],
    )  # fmt: skip


@gluon.jit
def _tile(number, m, n, ROWS: gl.constexpr):
    """Row and column of a tile: in groups of 4 rows of tiles, so that neighbours in time read the same."""
    down, across = gl.cdiv(m, ROWS), gl.cdiv(n, 128)
    group = number // (4 * across)
    high = gl.minimum(down - group * 4, 4)
    within = number % (4 * across)
    return (group * 4 + within % high) * ROWS, within // high


@gluon.jit
def _copy(a, b, shared, sizes, GROUPS: gl.constexpr, STAGES: gl.constexpr):
    left, right, full, free = shared
    m, n, k = sizes
    step = 0
    for number in range(gl.program_id(0), gl.cdiv(m, GROUPS * 64) * gl.cdiv(n, 128), gl.num_programs(0)):
        row, column = _tile(number, m, n, GROUPS * 64)
        for depth in range(0, k, 128):
            stage = step % STAGES
            ready = full.index(stage)
            mbarrier.wait(free.index(stage), (step // STAGES & 1) ^ 1)
            mbarrier.expect(ready, GROUPS * a.block_type.nbytes + b.block_type.nbytes)
            for group in gl.static_range(GROUPS):
                place = left.index(GROUPS * stage + group)
                tma.async_copy_global_to_shared(a, [row + 64 * group, depth], ready, place)
            tma.async_copy_global_to_shared(b, [column * 128, depth], ready, right.index(stage))
            step += 1


@gluon.jit
def _multiply(
    shared, pointers, sizes, strides, GROUP: gl.constexpr, GROUPS: gl.constexpr, STAGES: gl.constexpr
):  # fmt: skip
    left, right, full, free = shared
    a_scales, b_scales, y, results = pointers
    m, n, k = sizes
    a_row, a_column, b_row, b_column = strides
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 128, 32])
    zeros = gl.zeros([64, 128], gl.float32, layout)
    step = 0
    for number in range(gl.program_id(0), gl.cdiv(m, GROUPS * 64) * gl.cdiv(n, 128), gl.num_programs(0)):
        row, column = _tile(number, m, n, GROUPS * 64)
        rows = row + 64 * GROUP + gl.arange(0, 64, gl.SliceLayout(1, layout))
        a_scale, b_scale, inside = a_scales + rows * a_row, b_scales + column * b_row, rows < m
        total = zeros
        # Scales are asked for one block ahead: from memory they take longer than a product.
        scale = gl.load(a_scale, mask=inside, other=0.0) * gl.load(b_scale)
        blocks = gl.cdiv(k, 128)
        for i in range(blocks):
            stage = step % STAGES
            mbarrier.wait(full.index(stage), step // STAGES & 1)
            rows_of_a, columns_of_b = left.index(GROUPS * stage + GROUP), right.index(stage).permute((1, 0))
            part = hopper.warpgroup_mma(rows_of_a, columns_of_b, zeros, use_acc=False, is_async=True)
            ahead = gl.minimum(i + 1, blocks - 1)
            next_a = gl.load(a_scale + ahead * a_column, mask=inside, other=0.0)
            next_b = gl.load(b_scale + ahead * b_column)
            part = hopper.warpgroup_mma_wait(0, deps=(part,))
            mbarrier.arrive(free.index(stage), count=1)
            total += part * gl.expand_dims(scale, 1)
            scale = next_a * next_b
            step += 1
        # From shared memory the copy engine writes the result, while this group is at its next tile.
        tma.store_wait(pendings=0)
        results.index(GROUP).store(total.to(y.dtype))
        hopper.fence_async_shared()
        tma.async_copy_shared_to_global(y, [row + 64 * GROUP, column * 128], results.index(GROUP))
    tma.store_wait(pendings=0)
