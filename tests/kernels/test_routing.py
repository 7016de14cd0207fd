import pytest
import torch

from minidsk.kernels import launch
from minidsk.kernels.experts import experts, experts_reference
from minidsk.kernels.routing import combine, gather, sort_by_expert

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = [(37, 6, 3), (1, 5, 2), (150, 64, 6), (9, 1, 1), (700, 3, 2), (20, 300, 8)]  # tokens, experts, choices
ROUTES = [(37, 6, 3), (1, 5, 2), (50, 64, 6), (9, 1, 1)]  # whose 300 pairs fill more than one program's block
EXPERT_SIZES = [(37, 6, 3, 40, 24), (1, 5, 2, 7, 9), (40, 16, 4, 33, 20), (64, 4, 1, 64, 32)]


def choices(tokens, count, k, device, generator=None):
    """K different experts for each token; with few of them popular, so that some stay empty."""
    popularity = torch.rand(tokens, count, generator=generator) * torch.linspace(1, 0.2, count)
    return popularity.topk(k).indices.to(device)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sorting_is_stable_and_counts(shape, device):
    tokens, count, k = shape
    indices = choices(tokens, count, k, device)
    plan = sort_by_expert(indices, count)
    pairs = sorted(range(tokens * k), key=lambda pair: (indices.flatten()[pair].item(), pair))
    assert plan.order.tolist() == pairs
    assert plan.inverse[plan.order.long()].tolist() == list(range(tokens * k))
    counts = plan.ends.diff(prepend=plan.ends.new_zeros(1))
    assert counts.tolist() == [(indices == e).sum().item() for e in range(count)]
    assert {t.dtype for t in plan} == {torch.int32}


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_any_whole_numbers_and_strides(kind, device):
    indices = choices(21, 8, 4, device).to(kind)[:, ::2]
    plan = sort_by_expert(indices, 8)
    assert (indices.flatten()[plan.order.long()].diff() >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ROUTES, ids=str)
@pytest.mark.parametrize("width", [1, 40, 600])
def test_there_and_back_with_gradients(shape, width, dtype, normal, close, device):
    tokens, count, k = shape
    plan = sort_by_expert(indices := choices(tokens, count, k, device), count)
    x, slope = normal(tokens, width, dtype=dtype, grad=True), normal(tokens, width, dtype=dtype)
    # Positive, so that what is added up cannot cancel and leave nothing but rounding.
    weights, scale = normal(tokens, k).abs().requires_grad_(), normal(count, width, dtype=dtype).abs()
    assert launch.can_run(x)
    owners = indices.flatten()[plan.order.long()]
    out = combine(gather(x, plan) * scale[owners], weights, plan)
    ours = (out, *torch.autograd.grad(out, (x, weights), slope))
    wide = [t.detach().double().requires_grad_() for t in (x, weights)]
    out = (wide[0][:, None] * scale.double()[indices] * wide[1][..., None]).sum(1)
    exact = (out, *torch.autograd.grad(out, wide, slope.double()))
    for a, b in zip(ours, exact, strict=True):
        close(a, b, dtype, times=3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", EXPERT_SIZES, ids=str)
def test_experts_are_the_dense_loop(sizes, dtype, normal, close, device):
    """Every expert on every token, and what was not chosen times zero."""
    tokens, count, k, hidden, inner = sizes
    indices = choices(tokens, count, k, device)
    leaves = [normal(tokens, hidden, dtype=dtype), normal(count, 2 * inner, hidden, dtype=dtype, scale=hidden**-0.5),
              normal(count, hidden, inner, dtype=dtype, scale=inner**-0.5), normal(tokens, k).abs()]  # fmt: skip
    slope = normal(tokens, hidden, dtype=dtype)
    narrow = [t.clone().requires_grad_() for t in leaves]
    out = experts(*narrow, indices)
    assert out.dtype == dtype
    ours = (out, *torch.autograd.grad(out, narrow, slope))
    x, gate_up, down, weights = wide = [t.double().requires_grad_() for t in leaves]
    out = torch.zeros_like(x)
    for e in range(count):
        gate, up = (x @ gate_up[e].T).chunk(2, -1)
        share = (weights * (indices == e)).sum(1, keepdim=True)
        out = out + share * ((torch.nn.functional.silu(gate) * up) @ down[e].T)
    exact = (out, *torch.autograd.grad(out, wide, slope.double()))
    for a, b in zip(ours, exact, strict=True):
        close(a, b, dtype, times=4)


def test_the_reference_of_experts(normal, device):
    indices = choices(5, 4, 2, device)
    leaves = [normal(*shape).double().requires_grad_() for shape in ((5, 3), (4, 4, 3), (4, 3, 2), (5, 2))]
    plan = sort_by_expert(indices, 4)
    direct = experts(*leaves, indices)  # float64 has no kernel
    torch.testing.assert_close(direct, experts_reference(*leaves, plan), rtol=0, atol=0)
    assert torch.autograd.gradcheck(lambda *t: experts_reference(*t, plan), leaves)


def test_the_same_bits_every_time(normal, device):
    tokens = 3000 if device == "cuda" else 30
    indices = choices(tokens, 8, 3, device)
    leaves = [normal(*shape, grad=True) for shape in ((tokens, 32), (8, 32, 32), (8, 32, 16), (tokens, 3))]
    slope = normal(tokens, 32)
    runs = []
    for _ in range(2):
        out = experts(*leaves, indices)
        runs.append((out, *torch.autograd.grad(out, leaves, slope)))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))
