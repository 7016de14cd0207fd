import pytest
import torch
import torch.nn.functional as F

from minidsk.kernels import launch
from minidsk.kernels.cross_entropy import cross_entropy, linear_cross_entropy

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture
def words(device):
    """Random targets, every third one not counted."""

    def draw(tokens, count):
        targets = torch.randint(count, (tokens,), device=device)
        targets[2::3] = -100
        return targets

    return draw


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 256), (10, 1000), (4, 20001)], ids=str)
def test_logits(shape, dtype, overwrite, normal, words, close):
    leaf, targets = normal(*shape, dtype=dtype, scale=3, grad=True), words(*shape)
    wide = leaf.detach().double().requires_grad_()
    exact = F.cross_entropy(wide, targets)
    assert launch.can_run(leaf)
    loss = cross_entropy(leaf * 1, targets, overwrite=overwrite)
    assert (loss.dtype, loss.shape) == (torch.float32, ())
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(3 * loss, leaf)
    close(gradient, torch.autograd.grad(3 * exact, wide)[0], times=2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "hidden", "count"), [(1, 8, 3), (13, 24, 100), (50, 16, 777)])
def test_head_and_loss_in_one(tokens, hidden, count, dtype, normal, words, close):
    x, weight = normal(tokens, hidden, dtype=dtype, grad=True), normal(count, hidden, dtype=dtype, scale=0.3, grad=True)
    targets = words(tokens, count)
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    exact = F.cross_entropy(wide[0] @ wide[1].T, targets)
    loss = linear_cross_entropy(x, weight, targets, chunk_bytes=7 * count * x.element_size())  # chunks of seven
    torch.testing.assert_close(loss.double(), exact, rtol=2e-2 if dtype != torch.float32 else 1e-5, atol=1e-5)
    grads = torch.autograd.grad(3 * loss, (x, weight))
    for ours, expected in zip(grads, torch.autograd.grad(3 * exact, wide), strict=True):
        assert ours.dtype == dtype
        close(ours, expected, times=2)


def test_chunks_do_not_matter(normal, words):
    x, weight, targets = normal(40, 16, grad=True), normal(300, 16, grad=True), words(40, 300)
    found = []
    for rows in (1, 7, 40, 1000):
        loss = linear_cross_entropy(x, weight, targets, chunk_bytes=rows * 300 * 4)
        found.append((loss, *torch.autograd.grad(loss, (x, weight))))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_only_the_gradient_that_is_wanted(normal, words):
    x, weight, targets = normal(9, 16), normal(30, 16), words(9, 30)
    for leaf in (x, weight):
        leaf.requires_grad_()
        loss = linear_cross_entropy(x, weight, targets)
        assert [t.shape for t in torch.autograd.grad(loss, leaf)] == [leaf.shape]
        leaf.requires_grad_(False)
    assert not linear_cross_entropy(x, weight, targets).requires_grad


def test_without_gradients_the_logits_stay(normal, words):
    logits, targets = normal(5, 300, grad=True), words(5, 300)
    before = logits.detach().clone()
    with torch.no_grad():
        cross_entropy(logits, targets, overwrite=True)
    cross_entropy(logits, targets).backward()
    assert torch.equal(logits, before)


def test_who_saved_overwritten_logits_is_told(normal, words):
    leaf = normal(5, 300, grad=True)
    logits = leaf * 1
    entropy = logits.exp().sum() + logits.square().sum()  # the square needs the logits for its gradient
    loss = cross_entropy(logits, words(5, 300), overwrite=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (entropy + loss).backward()


def test_extremes(normal, device):
    logits = normal(4, 600)
    logits[0, 5] = 1e30  # certain and right
    logits[1, 5] = 1e4  # certain and wrong
    logits[2, :300] = -float("inf")
    targets = torch.tensor([5, 6, 400, 1], device=device)
    leaf = logits.requires_grad_()
    loss = cross_entropy(leaf, targets)
    expected = F.cross_entropy(leaf, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, leaf), torch.autograd.grad(expected, leaf))


def test_nothing_to_count(normal, device):
    leaf, targets = normal(3, 40, grad=True), torch.full((3,), -100, device=device)
    loss = cross_entropy(leaf, targets)
    assert loss.isnan() == F.cross_entropy(leaf, targets).isnan()


def test_a_target_that_is_no_word_shows(normal, device):
    for wrong in (-1, 40, 10**6):
        assert cross_entropy(normal(2, 40), torch.tensor([3, wrong], device=device)).isnan()


def test_shapes_that_do_not_fit(normal, device):
    with pytest.raises(ValueError, match=r"targets: shape \(3,\) does not fit \(2, 40\)"):
        cross_entropy(normal(2, 40), torch.zeros(3, dtype=torch.long, device=device))


def test_strided_logits(normal, words, close):
    wide, targets = normal(6, 90), words(6, 30)
    for view in (wide[:, 30:60], wide[:, ::3], normal(30, 6).T):
        close(cross_entropy(view, targets), F.cross_entropy(view.double(), targets))


def test_autocast(normal, words, close, device):
    x, weight, targets = normal(9, 16, grad=True), normal(30, 16, grad=True), words(9, 30)
    with torch.autocast(device, torch.bfloat16):
        loss = linear_cross_entropy(x, weight, targets)
        exact = F.cross_entropy(F.linear(x, weight).float(), targets)
    found, wanted = (torch.autograd.grad(value, (x, weight)) for value in (loss, exact))
    for ours, expected in zip(found, wanted, strict=True):
        assert ours.dtype == torch.float32
        close(ours, expected, torch.bfloat16, times=2)
