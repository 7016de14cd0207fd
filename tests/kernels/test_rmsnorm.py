import pytest
import torch

from minidsk.kernels import launch
from minidsk.kernels.rmsnorm import rms_norm, rms_norm_reference
from minidsk.model.norm import RMSNorm

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def gradients(norm, x, weight, slope):
    y = norm(x, weight)
    return (y, *torch.autograd.grad(y, (x, weight), slope.to(y.dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (70, 64), (2, 3, 100), (9, 1000), (130, 17), (2, 4097)], ids=str)
def test_forward_and_backward(shape, dtype, normal, close):
    x, weight = normal(*shape, dtype=dtype, grad=True), normal(shape[-1], dtype=dtype, grad=True)
    slope = normal(*shape, dtype=dtype)
    assert launch.can_run(x, weight)
    ours = gradients(rms_norm, x, weight, slope)
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    exact = gradients(rms_norm_reference, *wide, slope)
    assert (ours[0].dtype, ours[1].dtype, ours[2].dtype) == (dtype, dtype, dtype)
    for name, a, b in zip(("y", "dx", "dw"), ours, exact, strict=True):
        if name != "dx" or shape[-1] > 1:  # a row of one is its own sign: next to no gradient
            close(a, b, dtype, times=3)


def test_more_rows_than_programs(normal, close, device):
    """Each program adds up several blocks of rows for the gradient of the weight."""
    rows = 5001 if device == "cuda" else 41
    x, weight, slope = normal(rows, 1000, grad=True), normal(1000, grad=True), normal(rows, 1000)
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    exact = gradients(rms_norm_reference, *wide, slope)
    for ours, expected in zip(gradients(rms_norm, x, weight, slope), exact, strict=True):
        close(ours, expected, times=3)


def test_it_is_the_model_s_norm(normal):
    """The same numbers as `minidsk.model.norm`, bit for bit but for the order of a sum."""
    norm = RMSNorm(48, eps=1e-5).to(normal(1).device)
    norm.weight.data = normal(48)
    x = normal(4, 7, 48, scale=3)
    torch.testing.assert_close(rms_norm(x, norm.weight, 1e-5), norm(x), rtol=1e-5, atol=1e-6)


def test_it_is_cast_down_before_the_weight(normal):
    """Two roundings, as the model has it: another order shows in the last bit of every few numbers."""
    x, weight = normal(20, 300, dtype=torch.float16), normal(300, dtype=torch.float16)
    y = rms_norm(x, weight)
    wide = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)
    assert (y == rms_norm_reference(x, weight)).float().mean() > 0.99
    assert (y == (wide * weight.float()).half()).float().mean() < 0.9


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_a_wide_weight_makes_a_wide_result(narrow, normal, close):
    """Under autocast: activations are narrow and weights are float32."""
    x, weight = normal(5, 40, dtype=narrow, grad=True), normal(40, grad=True)
    ours = gradients(rms_norm, x, weight, slope := normal(5, 40))
    expected = rms_norm_reference(x, weight)
    assert ours[0].dtype == expected.dtype == torch.float32
    assert (ours[1].dtype, ours[2].dtype) == (narrow, torch.float32)
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    exact = gradients(rms_norm_reference, *wide, slope)
    for a, b in zip(ours, exact, strict=True):
        close(a, b, narrow)


def test_eps_counts_where_numbers_are_small(normal, close):
    x, weight = normal(3, 20, scale=1e-3), normal(20)
    close(rms_norm(x, weight, 1e-2), rms_norm_reference(x.double(), weight.double(), 1e-2))


def test_strides(normal, close):
    x, weight = normal(6, 50, 20), normal(40)[::2]
    for view in (x[:, ::2], x.mT.contiguous().mT, x[:1].expand(6, -1, -1)):
        leaf, slope = view.detach().requires_grad_(), normal(1, 1, 20).expand(view.shape)
        wide = view.double().requires_grad_()
        for a, b in zip(gradients(rms_norm, leaf, weight.requires_grad_(), slope),
                        gradients(rms_norm_reference, wide, weight.double(), slope), strict=True):
            close(a, b, times=3)


def test_what_no_kernel_takes_goes_to_the_reference(normal):
    for x in (normal(3, 4).double(), normal(0, 4)):
        assert torch.equal(rms_norm(x, normal(4).fill_(2)), rms_norm_reference(x, normal(4).fill_(2)))
