"""Eight-bit floats with a scale for each block, and products that add up in float32 (DeepSeek-V3, section 3.3).

E4M3 has 4 bits of exponent and 3 of mantissa; its largest value is 448. A tensor becomes codes and scales: within a
block, ``x = code * scale``, and the scale is such that the block's largest value becomes 448. Activations have blocks
of 1 x 128, weights of 128 x 128. Along the inner dimension of a product a block is 128 long, and so is each partial
sum that the tensor cores make: it is then scaled and added to a float32 total, because the tensor cores add up FP8
products in fewer bits than float32 has (about 14).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from minidsk.kernels.descriptors import descriptor
from minidsk.kernels.launch import INTERPRETED, can_run, cdiv, has_fp8, jit, on_hopper, tl

LARGEST = 448.0
"""The largest number of E4M3."""

BLOCK = 128
"""The length of a block along the inner dimension, and of the partial sums."""

Quantized = tuple[Tensor, Tensor]


def quantize_reference(x: Tensor, block: tuple[int, int] = (1, BLOCK)) -> Quantized:
    """What `quantize` computes."""
    (rows, columns), (high, wide) = x.shape, block
    padded = pad(x.float(), (0, -columns % wide, 0, -rows % high))
    tiles = padded.unflatten(1, (-1, wide)).unflatten(0, (-1, high))  # [rows / high, high, columns / wide, wide]
    scales = scales_of(tiles.abs().amax((1, 3)))
    codes = (tiles / scales[:, None, :, None]).flatten(2).flatten(0, 1)[:rows, :columns]
    return codes.to(torch.float8_e4m3fn), scales


def scales_of(largest: Tensor) -> Tensor:
    """The scale of blocks whose largest magnitudes are given; 1 where all is 0."""
    # By a tensor: for a number torch multiplies by its reciprocal on a GPU, which is not the same to the last bit.
    return torch.where(largest > 0, largest / largest.new_tensor(LARGEST), 1.0)


def quantize(x: Tensor, block: tuple[int, int] = (1, BLOCK)) -> Quantized:
    """Codes (float8_e4m3fn) ``[rows, columns]`` and scales (float32) ``[rows / block[0], columns / block[1]]``.

    Both sides of a block are powers of two; blocks at the edges may be cut. `x` may have any strides: ``quantize(x.T)``
    reads x once. Values that are not finite give codes that are not a number.
    """
    for side in block:
        if side < 1 or side & (side - 1):
            raise ValueError(f"block: {block} does not fit; both sides must be powers of two")
    if x.ndim != 2:
        raise ValueError(f"x: {list(x.shape)} does not fit; it must be a matrix, so flatten what is before its columns")
    if not x.numel() or not _has_kernels(x):
        return quantize_reference(x, block)
    (rows, columns), (high, wide) = x.shape, block
    # Rows of multiples of 16 bytes, for the copy engine; and scales column by column, for tiles of many rows.
    codes = x.new_empty(rows, columns + -columns % 16, dtype=torch.float8_e4m3fn)[:, :columns]
    scales = x.new_empty(cdiv(columns, wide), cdiv(rows, high), dtype=torch.float32).T
    tile = (max(high, 16), max(wide, 128))
    _quantize[(cdiv(rows, tile[0]), cdiv(columns, tile[1]))](
        x, codes, scales, rows, columns, *x.stride(), codes.stride(0), *scales.shape, *scales.stride(),
        HIGH=high, WIDE=wide, ROWS=tile[0], COLUMNS=tile[1], INTERPRETED=INTERPRETED,
        num_warps=8 if tile[0] * tile[1] > 4096 else 4,
    )  # fmt: skip
    return codes, scales


def _has_kernels(x: Tensor) -> bool:
    return can_run(x) and (INTERPRETED or has_fp8(x.device))


def dequantize(codes: Tensor, scales: Tensor, block: tuple[int, int] = (1, BLOCK)) -> Tensor:
    """``code * scale``, float32, of the same shape as `codes`."""
    rows, columns = codes.shape
    wide = scales.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :columns]
    return codes.float() * wide


@jit
def _quantize(
    x, codes, scales, rows, columns, x_row, x_column, codes_row, scale_rows, scale_columns, scales_row, scales_column,
    HIGH: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    mask = (row < rows) & (column < columns)
    values = tl.load(x + row * x_row + column.to(tl.int64) * x_column, mask=mask, other=0.0).to(tl.float32)
    tiles = values.reshape(ROWS // HIGH, HIGH, COLUMNS // WIDE, WIDE)
    largest = tl.max(tl.max(tl.abs(tiles), 3), 1)
    scale = tl.where(largest > 0, tl.div_rn(largest, 448.0), 1.0)
    tiles = tl.div_rn(tiles, tl.broadcast_to(scale[:, None, :, None], tiles.shape))
    if INTERPRETED:
        tiles = _round_to_e4m3(tiles)
    out = tiles.reshape(ROWS, COLUMNS).to(tl.float8e4nv)
    tl.store(codes + row * codes_row + column, out, mask=mask)
    i = tl.program_id(0) * (ROWS // HIGH) + tl.arange(0, ROWS // HIGH)[:, None]
    j = tl.program_id(1) * (COLUMNS // WIDE) + tl.arange(0, COLUMNS // WIDE)[None, :]
    tl.store(scales + i * scales_row + j * scales_column, scale, mask=(i < scale_rows) & (j < scale_columns))


@jit
def _round_to_e4m3(x):
    # The interpreter's cast forgets to carry (1.99 becomes 1) and knows no nan. So what it gets needs no carry, and 480
    # has the bits that E4M3 calls nan.
    bits = x.to(tl.int32, bitcast=True)
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) & -0x100000).to(tl.float32, bitcast=True)
    small = (x + 24576.0) - 24576.0  # 1.5 * 2**14: leaves steps of 2**-9
    return tl.where(x != x, 480.0, tl.where(tl.abs(x) < 0.015625, small, normal))


def scaled_matmul_reference(a: Quantized, b: Quantized, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """What `scaled_matmul` computes."""
    return (dequantize(*a) @ dequantize(*b, (_height(b), BLOCK)).T).to(dtype)


def scaled_matmul(
    a: Quantized, b: Quantized, dtype: torch.dtype = torch.bfloat16, blocks: dict[str, int] | None = None
) -> Tensor:
    """``a @ b.T`` of quantised matrices ``[M, K]`` and ``[N, K]``, to ``[M, N]`` of `dtype`.

    `a` has blocks of 1 x 128; `b` has blocks of 128 x 128, or of 1 x 128 too, as in the gradient of a weight. Each 128
    of K are added up by the tensor cores, then scaled and added to a float32 total (V3, figure 7 b). On a Hopper, with
    128 x 128, to 16 bits, and N a multiple of 8, by `fp8_hopper`, unless `blocks` asks for tiles of the kernel here.
    """
    (codes, scales), (b_codes, b_scales) = a, b
    if codes.shape[1] != b_codes.shape[1]:
        raise ValueError(f"b: {list(b_codes.shape)} does not fit codes {list(codes.shape)}; inner sizes must be equal")
    if not codes.numel() or not _has_kernels(scales):
        return scaled_matmul_reference(a, b, dtype)
    (m, k), n = codes.shape, len(b_codes)
    y = torch.empty(m, n, dtype=dtype, device=codes.device)
    codes, b_codes = _for_tma(codes), _for_tma(b_codes)
    if blocks is None and _height(b) == BLOCK and y.element_size() == 2 and n % 8 == 0 and on_hopper(codes):
        from minidsk.kernels.fp8_hopper import scaled_matmul_hopper

        scaled_matmul_hopper(codes, scales, b_codes, b_scales, y)
        return y
    blocks = {"ROWS": 16, "COLUMNS": 16} if INTERPRETED else blocks or BLOCKS
    if blocks["COLUMNS"] > BLOCK:
        raise ValueError(f"blocks: COLUMNS {blocks['COLUMNS']} does not fit; a tile has one weight scale, so 128")
    tiles = cdiv(m, blocks["ROWS"]) * cdiv(n, blocks["COLUMNS"])
    _scaled_matmul[(tiles,)](
        descriptor(codes, [blocks["ROWS"], BLOCK]), descriptor(b_codes, [blocks["COLUMNS"], BLOCK]),
        scales, b_scales, y, m, n, k, *scales.stride(), *b_scales.stride(), HIGH=_height(b), DEPTH=BLOCK, **blocks,
    )  # fmt: skip
    return y


BLOCKS = {"ROWS": 64, "COLUMNS": 128, "num_warps": 4, "num_stages": 4}
"""Sizes of a tile."""


def _height(b: Quantized) -> int:
    return 1 if len(b[1]) == len(b[0]) else BLOCK


def _for_tma(codes: Tensor) -> Tensor:
    """Codes whose rows the copy engine can read: without gaps, at multiples of 16 bytes."""
    if codes.stride(1) == 1 and codes.stride(0) % 16 == 0 and codes.data_ptr() % 16 == 0:
        return codes
    aligned = codes.new_empty(len(codes), codes.shape[1] + -codes.shape[1] % 16)[:, : codes.shape[1]]
    return aligned.copy_(codes)


@jit
def _scaled_matmul(
    a, b, a_scales, b_scales, y, m, n, k, a_row, a_column, b_row, b_column,
    HIGH: tl.constexpr, DEPTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row_tile, column_tile = tile_of(tl.program_id(0), tl.cdiv(m, ROWS), tl.cdiv(n, COLUMNS))
    rows, columns = row_tile * ROWS + tl.arange(0, ROWS), column_tile * COLUMNS + tl.arange(0, COLUMNS)
    a_scale = a_scales + rows * a_row
    if HIGH == 1:
        b_scale = b_scales + columns * b_row
    else:
        b_scale = b_scales + column_tile * COLUMNS // HIGH * b_row
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for i in tl.range(0, tl.cdiv(k, DEPTH)):
        left = tl.load(a_scale + i * a_column, mask=rows < m, other=0.0)
        if HIGH == 1:
            right = tl.load(b_scale + i * b_column, mask=columns < n, other=0.0)
        else:
            right = tl.load(b_scale + i * b_column)
        part = tl.dot(a.load([row_tile * ROWS, i * DEPTH]), b.load([column_tile * COLUMNS, i * DEPTH]).T)
        if HIGH == 1:
            total += part * left[:, None] * right[None, :]
        else:
            total += part * (left * right)[:, None]
    where = y + rows.to(tl.int64)[:, None] * n + columns[None, :]
    tl.store(where, total.to(y.dtype.element_ty), mask=(rows < m)[:, None] & (columns < n)[None, :])


def matmul_unscaled(a: Tensor, b: Tensor, promote_every: int | None = None) -> Tensor:
    """``a @ b.T`` of codes ``[M, K]`` and ``[N, K]``, float32 ``[M, N]``, to see how the tensor cores add.

    Every `promote_every` (a multiple of 32) of K the partial sum is added to a float32 total; None: never, the tensor
    cores keep the sum to themselves. Without a GPU the sum is exact.
    """
    if not a.numel() or not _has_kernels(torch.empty(0, device=a.device)):
        return a.float() @ b.float().T
    (m, k), n = a.shape, len(b)
    y = torch.empty(m, n, dtype=torch.float32, device=a.device)
    rows, depth = (16, 128) if INTERPRETED else (64, 128)
    _matmul_unscaled[(cdiv(m, rows), cdiv(n, rows))](
        descriptor(_for_tma(a), [rows, depth]), descriptor(_for_tma(b), [rows, depth]), y, m, n, k,
        PROMOTE_EVERY=promote_every, ROWS=rows, DEPTH=depth,
    )  # fmt: skip
    return y


@jit
def _matmul_unscaled(a, b, y, m, n, k, PROMOTE_EVERY: tl.constexpr, ROWS: tl.constexpr, DEPTH: tl.constexpr):
    i, j = tl.program_id(0) * ROWS, tl.program_id(1) * ROWS
    total = tl.zeros((ROWS, ROWS), tl.float32)
    for depth in tl.range(0, k, DEPTH):
        total = tl.dot(a.load([i, depth]), b.load([j, depth]).T, total, max_num_imprecise_acc=PROMOTE_EVERY)
    rows, columns = i + tl.arange(0, ROWS), j + tl.arange(0, ROWS)
    where = y + rows.to(tl.int64)[:, None] * n + columns[None, :]
    tl.store(where, total, mask=(rows < m)[:, None] & (columns < n)[None, :])


@jit
def tile_of(program, across_m, across_n):
    """Tiles in groups of 8 rows of tiles, so that programs that run together read the same rows and columns."""
    group = program // (8 * across_n)
    high = tl.minimum(across_m - group * 8, 8)
    within = program % (8 * across_n)
    return group * 8 + within % high, within // high
