"""Kernels for Hopper alone: compiled here without one; on one, tests/kernels/test_{fp8,attention}.py run them."""

import pytest
import torch

from minidsk.kernels import attention, fp8
from minidsk.kernels.launch import on_hopper

hopper = pytest.importorskip("minidsk.kernels.hopper", exc_type=ImportError)


def blocks(kind, **shapes):
    return {name: hopper.descriptor_type(kind, list(shape)) for name, shape in shapes.items()}


def numbers(names):
    return dict.fromkeys(names.split(), "i32:16")


def test_fp8_product_keeps_its_sums_in_registers(compiled):
    from minidsk.kernels import fp8_hopper as kernel

    types = {**blocks(torch.float8_e4m3fn, a=(64, 128), b=(128, 128)), **blocks(torch.bfloat16, y=(64, 128)),
             "a_scales": "*fp32", "b_scales": "*fp32", **numbers("m n k a_column b_row b_column")}  # fmt: skip
    constants = {"a_row": 1, "GROUPS": kernel.GROUPS, "STAGES": kernel.STAGES}
    made = compiled(kernel._scaled_matmul_hopper, types, constants, warps=4, most_registers=128)
    assert made.stack == 0
    assert made.count("QGMMA") == kernel.GROUPS * 128 // 32
    assert made.count("USETMAXREG") > 0
    assert made.shared < 227 * 1024


@pytest.mark.parametrize("widths", [(128, 64, 128), (64, 0, 64), (128, 0, 128), (64, 32, 64)], ids=str)
def test_attention_keeps_its_sums_in_registers(widths, compiled):
    from minidsk.kernels import attention_hopper as kernel

    first, second, value = widths
    rest = max(second, 16)
    types = {**blocks(torch.bfloat16, q_first=(1, 1, 64, first), q_second=(1, 1, 64, rest), k_first=(1, 1, 128, first),
                      k_second=(1, 1, 128, rest), v_map=(1, 1, 128, value)),
             "out": "*bf16", "log_sums": "*fp32", "scale": "fp32",
             **numbers("out_batch out_head out_row heads queries keys value_width")}  # fmt: skip
    constants = {"CAUSAL": True, "SECOND": second, "STAGES": kernel.STAGES}
    made = compiled(kernel._forward_hopper, types, constants, warps=4, most_registers=168)
    assert made.stack == 0
    # of each of two groups: scores and mixture once in the loop, and once beside it
    assert made.count("HGMMA") == 2 * 2 * ((first + second) // 16 + 128 // 16)
    assert made.shared < 227 * 1024


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("tile", [(64, 256), (128, 128)], ids=str)
def test_grouped_product_keeps_its_sums_in_registers(tile, transposed, compiled):
    from minidsk.kernels import grouped_hopper as kernel

    rows, columns = tile
    matrix = (1, 64, columns) if transposed else (1, columns, 64)
    types = {**blocks(torch.bfloat16, x=(rows, 64), weight=matrix, y_map=tile), "y": "*bf16", "ends": "*i32",
             "experts": "i32", **numbers("y_stride out inner")}  # fmt: skip
    constants = {"TRANSPOSED": transposed, "STAGES": kernel.STAGES}
    made = compiled(kernel._rows_times_matrices_hopper, types, constants, warps=4, most_registers=168)
    assert made.stack == 0
    assert made.count("HGMMA") == 2 * (rows // 64) * 64 // 16
    assert made.count("UTMASTG") == 2, "a whole tile is written by the copy engine"
    assert made.shared < 227 * 1024


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("sizes", [(37, 24, 300), (200, 136, 128), (1, 8, 1), (500, 328, 1024)], ids=str)
def test_both_fp8_products_are_the_same(sizes, normal):
    m, n, k = sizes
    a, b = fp8.quantize(normal(m, k)), fp8.quantize(normal(n, k), (128, 128))
    if not on_hopper(a[0]):
        pytest.skip("no Hopper here")
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(fp8.scaled_matmul(a, b, dtype), fp8.scaled_matmul(a, b, dtype, blocks=fp8.BLOCKS))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 3, 300, 192, 128), (1, 2, 129, 96, 64), (1, 1, 64, 64, 100)], ids=str)
def test_attention_by_gluon(shape, dtype, causal, normal, close):
    *before, key, value = shape
    q, k, v = (normal(*before, width, dtype=dtype, grad=True) for width in (key, key, value))
    if not on_hopper(q):
        pytest.skip("no Hopper here")
    assert attention.fits_hopper(q, v)
    slope = normal(*before, value, dtype=dtype)
    wide = [x.detach().double().requires_grad_() for x in (q, k, v)]
    found = [(out := attend(*x, causal), *torch.autograd.grad(out, x, slope.to(out.dtype)))
             for attend, x in ((attention.attention, (q, k, v)), (attention.attention_reference, wide))]  # fmt: skip
    for ours, exact in zip(*found, strict=True):
        close(ours, exact, times=3)
