import pytest
import torch

from minidsk.kernels import dispatch, launch
from minidsk.kernels.grouped_gemm import (
    grouped_matmul,
    heaviest_first,
    rows_times_matrices,
    rows_times_rows,
)

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
COUNTS = {
    "even": [32, 32, 32, 32],
    "empty experts": [0, 7, 0, 0, 20, 0],
    "one has all": [0, 0, 90],
    "one row": [0, 1],
    "one expert": [50],
    "skewed": [3, 200, 1, 17, 0, 40, 16],
}


def ends_of(counts, device):
    return torch.tensor(counts, device=device).cumsum(0).int()


def one_by_one(x, weight, counts):
    """Row by row, each with its expert's matrix: slow, and without a word about sorting."""
    owner = [expert for expert, count in enumerate(counts) for _ in range(count)]
    return torch.stack([weight[e] @ row for e, row in zip(owner, x, strict=True)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("sizes", [(16, 32), (17, 9), (40, 24), (1, 1)], ids=str)
def test_forward_and_both_gradients(counts, sizes, dtype, normal, close, device):
    width, out = sizes
    x = normal(sum(counts), width, dtype=dtype, grad=True)
    weight = normal(len(counts), out, width, dtype=dtype, grad=True)
    slope = normal(sum(counts), out, dtype=dtype)
    assert launch.can_run(x, weight)
    y = grouped_matmul(x, weight, ends_of(counts, device))
    ours = (y, *torch.autograd.grad(y, (x, weight), slope))
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    y = one_by_one(*wide, counts)
    exact = (y, *torch.autograd.grad(y, wide, slope.double()))
    for a, b in zip(ours, exact, strict=True):
        assert a.dtype == dtype
        close(a, b)
    for expert, count in enumerate(counts):
        assert count or not ours[2][expert].any()


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_the_reference_is_row_by_row(counts, normal):
    x, weight = normal(sum(counts), 5).double(), normal(len(counts), 4, 5).double()
    y = dispatch.grouped_matmul(x, weight, ends_of(counts, x.device))
    torch.testing.assert_close(y, one_by_one(x, weight, counts))


def test_no_row_touches_another_expert(normal, device):
    """What belongs to others may be anything: nan in it must not leak, neither at a tile's edge nor into a sum."""
    counts, ends = [5, 19, 3], ends_of([5, 19, 3], device)
    x, weight, dy = normal(27, 20), normal(3, 24, 20), normal(27, 24)
    clean = [f.clone() for f in (rows_times_matrices(x, weight, ends), rows_times_rows(dy, x, ends))]
    for other, start in ((0, 0), (1, 5), (2, 24)):
        mine = [e for e in range(3) if e != other]
        rows = torch.ones(27, dtype=torch.bool, device=device)
        rows[start : start + counts[other]] = False
        a, b, c = x.clone(), weight.clone(), dy.clone()
        a[~rows], b[other], c[~rows] = torch.nan, torch.nan, torch.nan
        torch.testing.assert_close(rows_times_matrices(a, b, ends)[rows], clean[0][rows])
        assert rows_times_matrices(c, b, ends, transposed=True)[rows].isfinite().all()
        torch.testing.assert_close(rows_times_rows(c, a, ends)[mine], clean[1][mine])


def test_strides(normal, close, device):
    ends = ends_of([4, 0, 9], device)
    x, weight = normal(13, 60)[:, ::2], normal(3, 30, 24).mT
    exact = dispatch.grouped_matmul(x.double(), weight.double(), ends)
    close(grouped_matmul(x, weight, ends), exact)
    y = grouped_matmul(x.requires_grad_(), weight, ends)
    dx, = torch.autograd.grad(y, x, normal(1, 24).expand(13, 24))
    assert dx.isfinite().all()


def test_what_no_kernel_takes_goes_to_the_reference(normal, device):
    x, weight = normal(3, 4).double(), normal(2, 5, 4).double()
    assert grouped_matmul(x, weight, ends_of([1, 2], device)).dtype == torch.float64
    assert grouped_matmul(normal(0, 4), normal(2, 5, 4), ends_of([0, 0], device)).shape == (0, 5)


@pytest.mark.parametrize(("weight", "named"), [((2, 5, 3), "width 4"), ((2, 5, 4), "float64")])
def test_errors_name_what_does_not_fit(weight, named, normal, device):
    matrix = normal(*weight) if "width" in named else normal(*weight).double()
    with pytest.raises(ValueError, match="weight: .*"):
        grouped_matmul(normal(3, 4), matrix, ends_of([1, 2], device))


@pytest.mark.parametrize("counts", [[3, 200, 1, 17, 0, 40, 16], [5], [4, 4, 4], [0, 0, 9, 0], list(range(70))], ids=str)
def test_the_heaviest_come_first_and_of_equals_the_first(counts, device):
    expected = sorted(range(len(counts)), key=lambda expert: -counts[expert])
    assert heaviest_first(ends_of(counts, device)).tolist() == expected
