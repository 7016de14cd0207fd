import pytest
import torch

from minidsk.kernels import launch
from minidsk.kernels.softmax import LONGEST_ROW, _softmax_long_row, _softmax_row, softmax, softmax_reference
from minidsk.kernels.softmax import launch as launch_rows

SHAPES = [(1, 1), (40, 5), (7, 64), (2, 3, 100), (5, 1000), (33, 17), (2, 4097)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(shape, dtype, normal, close):
    x, slope = normal(*shape, dtype=dtype, scale=4, grad=True), normal(*shape, dtype=dtype)
    assert launch.can_run(x)
    exact = x.detach().double().requires_grad_()
    expected = torch.softmax(exact, -1)
    y = softmax(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    close(y, expected)
    (dx,) = torch.autograd.grad(y, x, slope)
    (d_exact,) = torch.autograd.grad(expected, exact, slope.double())
    if shape[-1] > 1:  # a row of one has the gradient 0
        close(dx, d_exact, times=3)


@pytest.mark.parametrize("columns", [LONGEST_ROW + 1, LONGEST_ROW + 9000])
def test_rows_that_do_not_fit(columns, normal, close):
    x, slope = normal(2, columns, dtype=torch.bfloat16, scale=4, grad=True), normal(2, columns, dtype=torch.bfloat16)
    x.data[0, : columns // 2] = -float("inf")  # whole blocks that add nothing
    exact = x.detach().double().requires_grad_()
    expected = torch.softmax(exact, -1)
    y = softmax(x)
    close(y, expected)
    (dx,) = torch.autograd.grad(y, x, slope)
    close(dx, torch.autograd.grad(expected, exact, slope.double())[0], times=3)


@pytest.mark.parametrize("columns", [40, LONGEST_ROW + 5])
def test_large_and_masked_logits(columns, normal):
    x = normal(4, columns, scale=1e4)
    x[1, ::2] = -float("inf")
    x[2] = -float("inf")
    x[3, 7] = 1e30
    y = softmax(x)
    torch.testing.assert_close(y[[0, 1, 3]], softmax_reference(x)[[0, 1, 3]], rtol=1e-4, atol=1e-7)
    assert (y[1, ::2] == 0).all()
    assert y[2].isnan().all()  # as torch has it: nothing to choose from
    assert y[3, 7] == 1


def test_strides(normal, close):
    x = normal(6, 50, 20)
    repeated = x[:1].expand(6, -1, -1), x[..., :1].expand_as(x)
    for view in (x[:, ::2], x.transpose(1, 2), x[..., ::3], x[:, :, 3:11], *repeated):
        close(softmax(view), torch.softmax(view.double(), -1))
    slope = normal(1, 50, 1).expand(6, -1, 20)  # strides of 0
    leaf = x.clone().requires_grad_()
    (dx,) = torch.autograd.grad(softmax(leaf), leaf, slope + x)
    wide = x.double().requires_grad_()
    close(dx, torch.autograd.grad(torch.softmax(wide, -1), wide, (slope + x).double())[0], times=3)


def test_slopes_across_memory(normal, close):
    x, slope = normal(6, 20, grad=True), normal(20, 6).T
    wide = x.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(torch.softmax(wide, -1), wide, slope.double())
    close(torch.autograd.grad(softmax(x), x, slope)[0], exact, times=3)


def test_a_row_that_is_not_ours_stays(normal):
    x = normal(5, 30)
    room = torch.full((7, 32), 7.0, device=x.device)
    launch_rows(_softmax_row, _softmax_long_row, x, room[1:6, 1:31])
    edge = room.clone()
    edge[1:6, 1:31] = 7
    assert (edge == 7).all()


def test_what_no_kernel_takes_goes_to_the_reference(normal):
    for x in (normal(3, 4).double(), normal(0, 4), normal(4, 0), normal(3).sum()):
        assert torch.equal(softmax(x), softmax_reference(x))
