import pytest
import torch
import torch.nn.functional as F

from minidsk.kernels import launch
from minidsk.kernels.attention import attention, attention_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# batch, heads, tokens, key width, value width: MLA's proportions, widths and lengths that no block divides
SHAPES = [(1, 1, 1, 16, 16), (2, 3, 33, 48, 32), (1, 2, 65, 24, 40), (1, 1, 50, 192, 128), (1, 1, 20, 5, 3)]


def gradients(attend, q, k, v, slope, **options):
    out = attend(q, k, v, **options)
    return (out, *torch.autograd.grad(out, (q, k, v), slope.to(out.dtype)))


def wide(*tensors):
    return [x.detach().double().requires_grad_() for x in tensors]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(shape, dtype, causal, normal, close):
    *before, key, value = shape
    q, k, v = (normal(*before, width, dtype=dtype, grad=True) for width in (key, key, value))
    slope = normal(*before, value, dtype=dtype)
    assert launch.can_run(q)
    ours = gradients(attention, q, k, v, slope, causal=causal)
    exact = gradients(attention_reference, *wide(q, k, v), slope, causal=causal)
    for name, a, b in zip(("out", "dq", "dk", "dv"), ours, exact, strict=True):
        assert (a.shape, a.dtype) == (b.shape, dtype), name
        if before[-1] > 1 or name in ("out", "dv"):  # one token: the share is 1 whatever q and k
            close(a, b, times=3)


def test_the_reference_is_torch_s(normal):
    q, k, v = normal(2, 3, 17, 12), normal(2, 3, 17, 12), normal(2, 3, 17, 8)
    for causal, scale in ((True, None), (False, 0.3)):
        expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=causal, scale=scale)
        torch.testing.assert_close(attention_reference(q.double(), k.double(), v.double(), causal, scale), expected)


def test_more_keys_than_queries(normal, close):
    q, k, v = (normal(1, 2, *size, grad=True) for size in ((7, 32), (50, 32), (50, 16)))
    slope, options = normal(1, 2, 7, 16), {"causal": False, "scale": 0.4}
    ours, exact = gradients(attention, q, k, v, slope, **options), wide(q, k, v)
    for a, b in zip(ours, gradients(attention_reference, *exact, slope, **options), strict=True):
        close(a, b, times=3)


def test_no_query_sees_a_later_key(normal):
    q, k, v = normal(1, 1, 40, 16), normal(1, 1, 40, 16), normal(1, 1, 40, 16)
    before = attention(q, k, v)
    for x in (k, v):
        x[:, :, 25:] = normal(1, 1, 15, 16, scale=100)
    after = attention(q, k, v)
    assert torch.equal(before[:, :, :25], after[:, :, :25])
    assert not torch.equal(before[:, :, 25:], after[:, :, 25:])


def test_large_scores(normal):
    """Scores of tens of thousands: nothing overflows, and each query takes the value of its best key."""
    q, k, v = (normal(1, 1, 40, 16, scale=scale, grad=True) for scale in (100, 100, 1))
    ours = gradients(attention, q, k, v, normal(1, 1, 40, 16))
    later = torch.ones(40, 40, dtype=torch.bool, device=q.device).triu(1)
    best = (q.double() @ k.double().mT).masked_fill(later, -1e30).argmax(-1)
    near = (ours[0] - v[0, 0][best[0, 0]]).abs().amax(-1) < 1e-4
    assert near.float().mean() > 0.9  # a few have two keys that are nearly as good
    assert all(x.isfinite().all() for x in ours)


def test_strides_of_the_model(normal, close):
    """Heads are split off a projection, values off the keys' projection, and the rotated key is one for all heads."""
    b, h, t = 2, 3, 19
    q = normal(b, t, h * 24).view(b, t, h, 24).transpose(1, 2)
    both = normal(b, t, h * (16 + 20)).view(b, t, h, 36).transpose(1, 2)
    k = torch.cat((both[..., :16], normal(b, 1, t, 8).expand(-1, h, -1, -1)), -1)
    v, slope = both[..., 16:], normal(b, 1, 1, 1).expand(b, h, t, 20)
    leaves = [x.requires_grad_() for x in (q, k.detach(), v)]
    exact = gradients(attention_reference, *wide(*leaves), slope)
    for ours, expected in zip(gradients(attention, *leaves, slope), exact, strict=True):
        close(ours, expected, times=3)


def test_the_heads_join_without_a_copy(normal):
    out = attention(normal(2, 3, 20, 16), normal(2, 3, 20, 16), normal(2, 3, 20, 16))
    assert out.transpose(1, 2).is_contiguous()


def test_shapes_that_do_not_fit(normal):
    q, k, v = normal(1, 2, 5, 16), normal(1, 2, 5, 16), normal(1, 2, 5, 8)
    cases = {"k: shape": (q, k[..., :8], v), "v: shape": (q, k, v[:, :, :4]), "causal: 3": (q[:, :, :3], k, v),
             "dtype": (q.half(), k, v)}  # fmt: skip
    for words, wrong in cases.items():
        with pytest.raises(ValueError, match=words):
            attention(*wrong)


def test_what_no_kernel_takes_goes_to_the_reference(normal):
    for q in (normal(1, 1, 4, 8).double(), normal(1, 1, 4, 300), normal(1, 1, 0, 8)):
        assert torch.equal(attention(q, q, q), attention_reference(q, q, q))
