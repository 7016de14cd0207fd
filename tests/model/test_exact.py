"""Products whose rows do not know how many they are."""

import pytest
import torch
import torch.nn.functional as F

from minidsk.model.exact import PER_HEAD, TILE, Exact


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def differ(function, whole, *parts):
    """Whether any part of the rows (first and last number) has other numbers than among all rows."""
    expected = function(whole)
    return any(not torch.equal(function(whole[a:b].clone()), expected[a:b]) for a, b in parts)


PARTS = [(0, 1), (5, 6), (3, 5), (7, 10), (0, 7), (2, 11), (9, 26), (100, 300), (0, 500)]


@pytest.mark.parametrize(("inner", "out"), [(96, 4), (96, 181), (30, 17), (64, 600), (512, 96)])
def test_a_product_of_few_rows_is_that_of_many(inner, out):
    x, weight, bias = random(600, inner), random(out, inner, seed=1), random(out, seed=2)
    plain = differ(lambda x: F.linear(x, weight, bias), x, *PARTS)
    with Exact():
        for product in (lambda x: F.linear(x, weight, bias), lambda x: x @ weight.T):
            assert not differ(product, x, *PARTS)
    assert plain, "here nothing was to be done: does this test see anything?"


@pytest.mark.parametrize("seen", [32, 320])
def test_so_is_attention(seen):
    """One place at a time against all of them, and few texts against many: scores, mixtures and both foldings."""
    q, memory = random(6, 4, seen, 16), random(6, seen, 40, seed=1)
    to_key, to_value = random(4, 16, 40, seed=2), random(4, 16, 32, seed=3)
    key, value = PER_HEAD

    def attend(texts, places):
        one = torch.einsum(key, q[texts, :, places], to_key)
        scores = (one.flatten(1, 2) @ memory[texts].transpose(1, 2)).softmax(-1)
        mixed = (scores @ memory[texts, :, :32]).unflatten(1, (4, -1))
        return torch.einsum(value, mixed, to_value)

    with Exact():
        whole = attend(slice(0, 6), slice(0, seen))
        for texts in (slice(0, 6), slice(2, 3), slice(1, 5)):
            for place in (0, 1, 9, seen - 1):
                assert torch.equal(attend(texts, slice(place, place + 1))[:, :, 0], whole[texts, :, place])


@pytest.mark.parametrize("curve", [F.silu, torch.sigmoid, torch.cos, torch.rsqrt])
@pytest.mark.parametrize("width", [1, 4, 12, 48])
def test_so_are_curves(curve, width):
    with Exact():
        assert not differ(curve, random(600, width).abs() * 3, *PARTS)


def test_the_numbers_and_gradients_are_those_of_any_product():
    x, weight, bias = (random(*shape).double().requires_grad_() for shape in ((3, 11, 8), (5, 8), (5,)))
    w, values = (random(*shape).double().requires_grad_() for shape in ((2, 8, 6), (3, 7, 5)))

    def results():
        heads = torch.einsum("bhtd,hdr->bhtr", x.unsqueeze(1).expand(-1, 2, -1, -1), w)
        back = torch.einsum("bhtr,hvr->bhtv", heads, w)
        y = F.silu(F.linear(x, weight, bias)) @ values.transpose(1, 2)
        return y, heads, back, x[0] @ weight.T, x[:, :0] @ weight.T

    plain = results()
    with Exact():
        exact = results()
    leaves = (x, weight, bias, w, values)
    for a, b in zip(exact, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    found, expected = (torch.autograd.grad(sum(y.sin().sum() for y in some), leaves) for some in (exact, plain))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_it_takes_one_thread_and_gives_the_others_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Exact():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_another_order_of_adding_is_refused():
    q = random(1, 1, TILE, 4)
    with Exact(), pytest.raises(NotImplementedError, match=r"^attention: only the absorbed form is exact"):
        F.scaled_dot_product_attention(q, q, q)
