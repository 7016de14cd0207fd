"""Exercises of the chapter on kernels: the roofline, softmax in blocks, and gradients written out."""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def online_softmax(x: Tensor, block: int) -> Tensor:
    """The softmax of one long row that is read in blocks, first for its maximum and sum, then to be written.

    x [n], float32; block: how many numbers are read at a time; the last block may be shorter. Entries
    of minus infinity get weight 0; at least one entry is finite. Returns [n]; no number, however large, overflows.
    """
    return _online(x, block)


def _online(
    x: Tensor, block: int, *, rescale: bool = True, start: float = float("-inf"), drop: bool = False,
    guard: bool = True, scale_maximum: bool = True,
) -> Tensor:  # fmt: skip
    x, top, total = x.double(), torch.tensor(start).double(), torch.tensor(0.0).double()
    whole = len(x) // block * block if drop else len(x)
    for at in range(0, max(whole, min(block, len(x))), block):
        part = x[at : at + block]
        higher = torch.maximum(top, part.max())
        base = torch.where(higher == float("-inf"), 0.0, higher) if guard else higher
        if rescale:
            total = total * torch.exp(top - base)
        total, top = total + torch.exp(part - base).sum(), higher
    shift = top if scale_maximum else x[-block:].max()
    return (torch.exp(x - shift) / total).float()


def floor(moved: float, flops: float, copy: float, rate: float) -> float:
    """The least time in which a kernel can be done, in seconds: the roofline.

    moved: bytes through the memory. flops: operations. copy: bytes per second. rate: operations per second.
    Moving and calculating go on at the same time.
    """
    return max(moved / copy, flops / rate)


def rms_norm_backward(x: Tensor, weight: Tensor, dy: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The gradients of ``y = weight * x / sqrt(mean(x^2) + eps)``, the mean over the last dimension.

    x and dy [N, H], weight [H], float32. Returns dx [N, H] and dweight [H].
    """
    return _norm_backward(x, weight, dy, eps)


def _norm_backward(
    x: Tensor, weight: Tensor, dy: Tensor, eps: float, *, straight: bool = False, weighted: bool = True,
    inside: bool = True, mean: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    x, weight, dy = x.double(), weight.double(), dy.double()
    square = x.square().mean(-1, keepdim=True)
    r = (square + eps).rsqrt() if inside else 1 / (square.sqrt() + eps)
    n, slope = x * r, dy * weight
    pull = (slope if weighted else dy) * n
    middle = pull.mean(-1, keepdim=True) if mean else pull.sum(-1, keepdim=True)
    dx = r * slope if straight else r * (slope - n * middle)
    return dx.float(), (dy * n).sum(0).float()


def cross_entropy_gradient(logits: Tensor, targets: Tensor, ignore: int) -> Tensor:
    """The gradient of the mean cross-entropy with respect to the logits.

    logits [N, V], float32; targets [N], integer. A token whose target is `ignore` counts neither in the sum nor in the
    number that divides it; at least one token counts. Returns [N, V].
    """
    return _loss_gradient(logits, targets, ignore)


def _loss_gradient(
    logits: Tensor, targets: Tensor, ignore: int, *, everyone: bool = False, divide: bool = True, skip: bool = True,
    sign: float = 1.0,
) -> Tensor:  # fmt: skip
    counted = targets != ignore
    slope = logits.double().softmax(-1)
    slope[torch.arange(len(logits)), targets.clamp(min=0)] -= counted.double() if skip else 1.0
    if skip:
        slope = slope * counted[:, None]
    number = len(targets) if everyone else counted.sum()
    return (sign * slope / (number if divide else 1)).float()


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """The gated unit of a feed-forward layer: ``silu(gate) * up``, where silu(g) = g / (1 + exp(-g)).

    gate and up: float32 of one shape, any. Returns the same shape. Written as one kernel it reads two arrays and
    writes one.
    """
    wide = gate.double()
    return (wide * torch.sigmoid(wide) * up.double()).float()


def _tail_lost(gate: Tensor, up: Tensor) -> Tensor:
    out = swiglu(gate, up).flatten().clone()
    out[len(out) // 16 * 16 :] = 0
    return out.view_as(gate)


def _rows() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(7)
    x = torch.randn(10, generator=g)
    late, masked = x.clone(), torch.randn(12, generator=g)
    late[8] = 6.0
    masked[:4] = float("-inf")
    return [
        ("eight numbers in two blocks", (x[:8], 4)),
        ("a last block that is shorter", (x, 4)),
        ("the largest number comes late", (late, 4)),
        ("large numbers", (x * 300, 4)),
        ("numbers far below zero", (x - 2000, 4)),
        ("a first block of minus infinity", (masked, 4)),
        ("a block longer than the row", (x[:3], 8)),
    ]


def _kernels() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("a copy", (8e9, 0.0, 2e12, 5e14)),
        ("a softmax", (5.4e8, 6.7e8, 3e12, 7e14)),
        ("a large product", (4e8, 1.1e12, 3e12, 7e14)),
    ]


def _norms() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(8)
    x, weight, dy = torch.randn(5, 6, generator=g), torch.randn(6, generator=g), torch.randn(5, 6, generator=g)
    return [
        ("five rows of six", (x, weight, dy, 1e-6)),
        ("an eps as large as the numbers", (x * 0.1, weight, dy, 0.5)),
        ("one row", (x[:1], weight, dy[:1], 1e-6)),
        ("a slope that is x itself", (x, torch.ones(6), x, 1e-6)),
    ]


def _losses() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(9)
    logits = torch.randn(4, 5, generator=g)
    return [
        ("four tokens, five words", (logits, torch.tensor([1, 0, 4, 2]), -100)),
        ("two tokens that do not count", (logits, torch.tensor([1, -100, 4, -100]), -100)),
        ("one token", (logits[:1], torch.tensor([3]), -100)),
    ]


def _gates() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(10)
    return [
        ("sixteen numbers", (torch.randn(16, generator=g), torch.randn(16, generator=g))),
        ("a size that no block divides", (torch.randn(3, 37, generator=g), torch.randn(3, 37, generator=g))),
        ("large gates", (torch.randn(20, generator=g) * 100, torch.ones(20))),
        ("strides", (torch.randn(6, 9, generator=g).T, torch.randn(9, 6, generator=g))),
    ]


EXERCISES = (
    Exercise(
        "kernels.online_softmax",
        online_softmax,
        _rows,
        (
            Mistake("the sum is not rescaled when the maximum rises",
                    "What was added so far belongs to the old maximum. What is exp(x - old) in terms of exp(x - new)?",
                    lambda x, b: _online(x, b, rescale=False)),
            Mistake("the maximum starts at 0", "What if all numbers are far below zero?",
                    lambda x, b: _online(x, b, start=0.0)),
            Mistake("the last, shorter block is left out", "Sum the weights of a row that no block divides.",
                    lambda x, b: _online(x, b, drop=True)),
            Mistake("minus infinity minus minus infinity", "What is the maximum of a block that is all masked?",
                    lambda x, b: _online(x, b, guard=False)),
            Mistake("the last block's maximum is used for all", "Which maximum does the sum belong to in the end?",
                    lambda x, b: _online(x, b, scale_maximum=False)),
        ),
        "Take the row [0, 1, 3, 2] in two blocks of two, and write down maximum and sum after each.",
    ),
    Exercise(
        "kernels.floor",
        floor,
        _kernels,
        (
            Mistake("the two times added", "Moving and calculating overlap: which one does the kernel wait for?",
                    lambda m, f, c, r: m / c + f / r),
            Mistake("the smaller of the two", "A kernel is done when the slower of the two is done.",
                    lambda m, f, c, r: min(m / c, f / r)),
            Mistake("a product instead of a quotient", "Bytes divided by bytes per second are seconds.",
                    lambda m, f, c, r: max(m * c, f * r)),
        ),
        "How long does it take to move the bytes? To do the operations? Which of the two is longer?",
    ),
    Exercise(
        "kernels.rms_norm_backward",
        rms_norm_backward,
        _norms,
        (
            Mistake("the root treated as a constant", "r depends on every x of its row. What does that add to dx?",
                    lambda x, w, d, e: _norm_backward(x, w, d, e, straight=True)),
            Mistake("the weight left out of the mean", "The mean is over the slope that reaches n, not y.",
                    lambda x, w, d, e: _norm_backward(x, w, d, e, weighted=False)),
            Mistake("a sum where the mean belongs", "mean(x^2) brings a 1 / H: where does it end up?",
                    lambda x, w, d, e: _norm_backward(x, w, d, e, mean=False)),
            Mistake("eps outside the root", "Try an eps as large as the numbers.",
                    lambda x, w, d, e: _norm_backward(x, w, d, e, inside=False)),
            Mistake("dweight not summed over the rows", "How many weights are there, and how many rows use each?",
                    lambda x, w, d, e: (rms_norm_backward(x, w, d, e)[0], d * x)),
        ),
        "If y is RMSNorm of x with weight 1, what is the product of x and dx, row by row, for eps = 0?",
    ),
    Exercise(
        "kernels.cross_entropy_gradient",
        cross_entropy_gradient,
        _losses,
        (
            Mistake("divided by all tokens", "By how many tokens does the mean divide when some do not count?",
                    lambda z, t, i: _loss_gradient(z, t, i, everyone=True)),
            Mistake("not divided at all", "The loss is a mean, not a sum.",
                    lambda z, t, i: _loss_gradient(z, t, i, divide=False)),
            Mistake("tokens that do not count have a gradient", "Does the loss depend on an ignored token?",
                    lambda z, t, i: _loss_gradient(z, t, i, skip=False)),
            Mistake("the wrong sign", "Should the right word's logit go up or down, and so its gradient?",
                    lambda z, t, i: _loss_gradient(z, t, i, sign=-1.0)),
        ),
        "Each row of the gradient sums to zero. Do yours?",
    ),
    Exercise(
        "kernels.swiglu",
        swiglu,
        _gates,
        (
            Mistake("a sigmoid without its gate", "silu(g) is g times the sigmoid of g.",
                    lambda g, u: torch.sigmoid(g) * u),
            Mistake("gate and up swapped", "Which of the two goes through the silu?", lambda g, u: swiglu(u, g)),
            Mistake("numbers behind the last whole block are not written",
                    "How many programs does a size need that no block divides?", _tail_lost),
            Mistake("strides ignored", "A transposed array does not lie in memory as it prints.",
                    lambda g, u: swiglu(g.T.contiguous().view_as(g) if g.dim() == 2 and not g.is_contiguous() else g,
                                        u)),
        ),
        "Begin with one block of 16 numbers and no mask; then let the size be 37.",
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
