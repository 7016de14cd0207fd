import pytest
import torch

from minidsk.kernels.fp8 import (
    dequantize,
    matmul_unscaled,
    quantize,
    quantize_reference,
    scaled_matmul,
    scaled_matmul_reference,
)
from minidsk.kernels.fp8_linear import Fp8Linear, fp8_linear

BLOCKS = [(1, 128), (128, 128), (128, 1), (2, 16), (1, 32)]
SHAPES = [(37, 300), (128, 128), (1, 1), (5, 17), (200, 130)]


def wild(normal, *shape, dtype=torch.float32):
    """Numbers of many magnitudes."""
    return (normal(*shape) * torch.exp(3 * normal(*shape))).to(dtype)


@pytest.fixture(autouse=True)
def no_fp8_on_old_gpus(device):
    if device == "cuda" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this GPU has no FP8")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_codes_and_scales_by_the_definition(shape, block, dtype, normal):
    x = normal(*shape, dtype=dtype) if dtype == torch.float16 else wild(normal, *shape, dtype=dtype)
    for view in (x, x.T):
        codes, scales = quantize(view, block)
        rows, columns = view.shape
        assert codes.dtype == torch.float8_e4m3fn
        assert codes.shape == view.shape
        assert scales.shape == (-(-rows // block[0]), -(-columns // block[1]))
        for i in range(scales.shape[0]):
            for j in range(scales.shape[1]):
                part = slice(i * block[0], (i + 1) * block[0]), slice(j * block[1], (j + 1) * block[1])
                largest = view[part].float().abs().max()
                assert scales[i, j] == (largest / largest.new_tensor(448.0) if largest > 0 else 1)
                assert torch.equal(codes[part].float(), (view[part].float() / scales[i, j]).to(codes.dtype).float())


def test_the_error_of_a_block(normal):
    """3 bits of mantissa: half of 1/8 at most, above the smallest normal number; below, half of its step."""
    x = wild(normal, 64, 256)
    codes, scales = quantize(x)
    error = (dequantize(codes, scales) - x).abs()
    step = scales.repeat_interleave(128, 1)
    assert (error <= torch.maximum(x.abs() / 16, step * 2**-10) * 1.0001).all()
    assert codes.float().abs().amax() == 448


def test_zeros_and_what_is_not_finite(normal):
    x = normal(4, 256)
    x[0], x[1, 3], x[2, 200] = 0, torch.inf, torch.nan
    codes, scales = quantize(x)
    back = dequantize(codes, scales)
    assert not back[0].any()
    assert (scales[0] == 1).all()
    assert back[1, 3].isnan()
    assert back[2, 200].isnan()
    assert back[3].isfinite().all()
    assert back[2, :128].isfinite().all(), "one block must not spoil another"


@pytest.mark.parametrize("high", [1, 128])
@pytest.mark.parametrize("sizes", [(37, 20, 300), (16, 130, 128), (1, 1, 1), (50, 33, 17), (130, 260, 256)], ids=str)
def test_the_product_of_what_was_quantised(sizes, high, normal, close):
    m, n, k = sizes
    a, b = quantize(wild(normal, m, k)), quantize(wild(normal, n, k), (high, 128))
    exact = dequantize(*a).double() @ dequantize(*b, (high, 128)).double().T
    close(scaled_matmul(a, b, torch.float32), exact, torch.bfloat16 if a[0].is_cuda else None)
    close(scaled_matmul(a, b), exact, torch.bfloat16)
    close(scaled_matmul_reference(a, b, torch.float32), exact)


def test_blocks_save_what_one_scale_loses(normal):
    """One large number a row: with one scale for all, the small ones vanish; with blocks, only their neighbours do."""
    x = normal(32, 1024)
    x[:, 7] = 1e7
    blocks = dequantize(*quantize(x))
    scale = x.abs().max() / 448
    one = (x / scale).to(torch.float8_e4m3fn).float() * scale
    rest = slice(128, None)
    assert (one[:, rest] - x[:, rest]).norm() / x[:, rest].norm() > 0.99
    assert (blocks[:, rest] - x[:, rest]).norm() / x[:, rest].norm() < 0.04


@pytest.mark.parametrize("every", [None, 32, 128])
def test_unscaled(every, normal, close):
    a, b = (normal(rows, 200).to(torch.float8_e4m3fn) for rows in (20, 30))
    y = matmul_unscaled(a, b, every)
    assert y.dtype == torch.float32
    close(y, a.double() @ b.double().T, torch.float16 if a.is_cuda else None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [((5, 7), 130, 40), ((3,), 16, 16), ((40,), 128, 200)], ids=str)
def test_linear_forward_and_backward(sizes, dtype, normal):
    batch, width, out = sizes
    x, weight = normal(*batch, width, dtype=dtype, grad=True), normal(out, width, grad=True)
    slope = normal(*batch, out, dtype=dtype)
    y = fp8_linear(x, weight)
    assert y.dtype == dtype
    ours = (y, *torch.autograd.grad(y, (x, weight), slope))
    assert [t.dtype for t in ours] == [dtype, dtype, torch.float32]
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    y = wide[0] @ wide[1].T
    exact = (y, *torch.autograd.grad(y, wide, slope.double()))
    for a, b in zip(ours, exact, strict=True):
        error = (a.double() - b).norm() / b.norm()
        assert error < 0.06, f"two factors of 3 bits each: relative error {error:.3f}"


def test_linear_is_a_layer(normal, device):
    layer = Fp8Linear(24, 8).to(device)
    assert list(layer.state_dict()) == ["weight"]
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        y = layer(normal(2, 3, 24))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("block", [(3, 128), (1, 0), (1, 100)], ids=str)
def test_blocks_are_powers_of_two(block, normal):
    with pytest.raises(ValueError, match="block: .* powers of two"):
        quantize(normal(4, 4), block)


def test_errors_name_what_does_not_fit(normal):
    with pytest.raises(ValueError, match="x: .* matrix"):
        quantize(normal(2, 3, 4))
    with pytest.raises(ValueError, match="b: .* inner"):
        scaled_matmul(quantize(normal(2, 3)), quantize(normal(2, 4)))


def test_empty(normal):
    codes, scales = quantize(normal(0, 40))
    assert codes.shape == (0, 40)
    assert scales.shape == (0, 1)
    assert quantize_reference(normal(3, 40))[1].shape == (3, 1)
