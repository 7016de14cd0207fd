import pytest
import torch

from minidsk.kernels import dispatch
from minidsk.kernels.dispatch import combine, gather, grouped_matmul, has_grouped_product, sort_by_expert

ROUTES = {
    "random": torch.stack([torch.randperm(6, generator=torch.Generator().manual_seed(i))[:3] for i in range(17)]),
    "empty experts": torch.tensor([[1, 4], [4, 1], [1, 4]]),
    "one expert takes all": torch.full((9, 1), 5),
    "one token": torch.tensor([[3, 0]]),
    "all experts": torch.arange(6).expand(4, 6),
}


@pytest.fixture(params=ROUTES.values(), ids=ROUTES.keys())
def route(request):
    """Indices ``[N, K]`` of 6 experts, x ``[N, 5]``, weights ``[N, K]``, matrices ``[6, 4, 5]``; float64."""
    generator = torch.Generator().manual_seed(1)
    indices = request.param
    x, w, m = (torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)
               for shape in ((len(indices), 5), indices.shape, (6, 4, 5)))  # fmt: skip
    return indices, x, w, m


def by_experts(indices, x, w, m):
    """The dense loop: each expert sees every token, and most of what it says is multiplied by zero."""
    out = torch.zeros(len(x), 4, dtype=torch.float64)
    for expert, matrix in enumerate(m):
        out = out + (w * (indices == expert)).sum(1, keepdim=True) * (x @ matrix.T)
    return out


def test_sorted_is_the_dense_loop_with_gradients(route):
    indices, x, w, m = route
    plan = sort_by_expert(indices, 6)
    out = combine(grouped_matmul(gather(x, plan), m, plan.ends), w, plan)
    expected = by_experts(indices, x, w, m)
    torch.testing.assert_close(out, expected)
    direction = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    actual = torch.autograd.grad((out * direction).sum(), (x, w, m))
    for a, b in zip(actual, torch.autograd.grad((expected * direction).sum(), (x, w, m)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("experts", [256, 300])
def test_a_byte_does_not_hold_every_number(experts):
    indices = torch.randint(experts, (500, 3), generator=torch.Generator().manual_seed(0))
    assert indices.max() == experts - 1
    assert torch.equal(sort_by_expert(indices, experts).order, indices.flatten().argsort(stable=True))


def test_the_plan(route):
    indices, x, _, _ = route
    plan = sort_by_expert(indices, 6)
    ordered = indices.flatten()[plan.order]
    assert (ordered.diff() >= 0).all()
    assert torch.equal(ordered[plan.inverse], indices.flatten())
    assert plan.ends.diff(prepend=plan.ends.new_zeros(1)).tolist() == [(indices == e).sum().item() for e in range(6)]
    assert plan.ends.dtype == torch.int32
    tokens = torch.arange(len(x))[:, None].expand_as(indices).flatten()
    assert torch.equal(gather(x, plan), x[tokens[plan.order]])


def test_weights_are_applied_in_their_own_precision(route):
    indices, x, w, _ = route
    plan = sort_by_expert(indices, 6)
    y = (gather(x, plan).bfloat16() @ torch.ones(5, 4).bfloat16()).detach()
    out = combine(y, w.float(), plan)
    assert out.dtype == torch.bfloat16
    expected = (y[plan.inverse].view(*indices.shape, 4).float() * w.float()[..., None]).sum(1)
    assert torch.equal(out, expected.bfloat16())


def test_the_grouped_kernel_of_torch_multiplies_the_same():
    generator = torch.Generator().manual_seed(0)
    indices = torch.randint(4, (24, 2), generator=generator)
    plan = sort_by_expert(indices, 4)
    x, m = (torch.randn(*shape, generator=generator).bfloat16() for shape in ((48, 16), (4, 8, 16)))
    expected = grouped_matmul(x, m, plan.ends)
    assert not has_grouped_product(x)
    if hasattr(torch, "_grouped_mm"):  # what the GPU path calls; torch has it for the CPU since 2.9 or so
        torch.testing.assert_close(torch._grouped_mm(x, m.transpose(1, 2), offs=plan.ends), expected)


@pytest.mark.parametrize(("experts", "rows"), [(3, 50), (3, 0), (80, 200), (16, 9)])
def test_gradients_of_grouped_products_are_those_of_single_ones(experts, rows, monkeypatch):
    """The rows of an expert are cut into parts; here torch's grouped product is written out, for a CPU."""

    def grouped(a, b, offs):
        starts, ends = [0, *offs.tolist()[:-1]], offs.tolist()
        if b.ndim == 3:
            return torch.cat([a[i:j] @ matrix for i, j, matrix in zip(starts, ends, b, strict=True)])
        return torch.stack([a[:, i:j] @ b[i:j] for i, j in zip(starts, ends, strict=True)])

    seeded = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*shape, generator=seeded, dtype=torch.float64, requires_grad=True)
                 for shape in ((rows, 5), (experts, 4, 5)))  # fmt: skip
    counts = torch.randint(experts, (rows,), generator=seeded).bincount(minlength=experts)
    ends, slope = counts.cumsum(0, dtype=torch.int32), torch.randn(rows, 4, generator=seeded, dtype=torch.float64)
    expected = dispatch.grouped_matmul(x, weight, ends)
    gradients = torch.autograd.grad(expected, (x, weight), slope)
    monkeypatch.setattr(torch, "_grouped_mm", grouped, raising=False)
    monkeypatch.setattr(dispatch, "has_grouped_product", lambda *_: True)
    ours = dispatch.grouped_matmul(x, weight, ends)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, weight), slope), gradients)


def test_the_gate_has_its_gradient_within_torch_compile(monkeypatch, normal):
    both = normal(7, 10).cpu().double().requires_grad_()
    gate, up = both.chunk(2, dim=-1)
    weight = normal(7, 5).cpu().double()
    expected = torch.nn.functional.silu(gate) * up
    (slope,) = torch.autograd.grad((expected * weight).sum(), both)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(dispatch.gated(both), expected)
    (found,) = torch.autograd.grad((dispatch.gated(both) * weight).sum(), both)
    torch.testing.assert_close(found, slope, rtol=1e-12, atol=1e-12)
    half = both.detach().bfloat16().requires_grad_()
    (found,) = torch.autograd.grad((dispatch.gated(half) * weight.bfloat16()).sum(), half)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), slope, rtol=0.02, atol=0.02)
