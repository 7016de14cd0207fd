import pytest
import torch

from minidsk.kernels.rotary import rotate, rotate_reference
from minidsk.model import rope

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interleave", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (3, 2, 5, 8), (40, 1, 2, 6), (2, 4, 1, 16)], ids=str)
def test_each_pair_is_turned(shape, interleave, dtype, normal, close):
    batch, _, time, dim = shape
    x, angle = normal(*shape, dtype=dtype), normal(batch, 1, time, dim // 2, scale=3)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    ours = rotate(x, cos, sin, interleave)
    assert (ours.dtype, ours.shape) == (dtype, x.shape)
    close(ours, rotate_reference(x.double(), cos.double(), sin.double(), interleave))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interleave", [True, False])
def test_gradients_are_turned_back(interleave, dtype, normal, close):
    """Of a part of another tensor, with one row of angles for the batch and for all heads."""
    angle = normal(1, 5, 1, 4, scale=3)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    whole, slope = normal(3, 5, 2, 11, dtype=dtype, grad=True), normal(3, 5, 2, 8, dtype=dtype)
    (found,) = torch.autograd.grad(rotate(whole[..., 3:], cos, sin, interleave), whole, slope)
    wide = whole.detach().double().requires_grad_()
    turned = rotate_reference(wide[..., 3:], cos.double(), sin.double(), interleave)
    (expected,) = torch.autograd.grad(turned, wide, slope.double())
    assert found.dtype == dtype
    close(found, expected)
    (across,) = torch.autograd.grad(rotate(whole[..., 3:], cos, sin, interleave).sum(), whole)  # a slope of no strides
    close(across, torch.autograd.grad(
        rotate_reference(wide[..., 3:], cos.double(), sin.double(), interleave).sum(), wide)[0])  # fmt: skip


def test_parts_of_other_tensors_and_angles_for_all_rows(normal):
    """As attention has them: heads behind time, a row's end, one row of angles for the whole batch."""
    whole = normal(3, 5, 4 * 11)
    x = whole.view(3, 5, 4, 11).transpose(1, 2)[..., 3:]
    for angle in (normal(1, 1, 5, 4), normal(3, 1, 5, 4), normal(3, 4, 5, 4)):
        ours = rotate(x, angle.cos(), angle.sin())
        torch.testing.assert_close(ours, rotate_reference(x, angle.cos(), angle.sin()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("interleave", [True, False])
def test_it_is_the_model_s_rotation(interleave, normal):
    x, angle = normal(2, 3, 7, 8), normal(2, 1, 7, 4)
    expected = rope.rotate(x, angle.cos(), angle.sin(), interleave)
    torch.testing.assert_close(rotate(x, angle.cos(), angle.sin(), interleave), expected, rtol=1e-5, atol=1e-6)
    wide = [t.double() for t in (x, angle.cos(), angle.sin())]
    assert torch.equal(rotate(*wide, interleave), rope.rotate(*wide, interleave)), "float64 has no kernel"
