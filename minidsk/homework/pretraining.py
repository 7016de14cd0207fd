"""Exercises of the chapter on pretraining: schedule, packing, Muon, scaling laws."""

import math
from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake

MUON = (3.4445, -4.7750, 2.0315)


def learning_rate(step: int, steps: int, warmup: int, peak: float, floor: float) -> float:
    """The learning rate of step `step` (the first is 0) of `steps`: a linear warm-up, then half a cosine.

    In the warm-up, step s has the rate peak * (s + 1) / warmup, so that the first already learns. From there the
    rate falls along half a cosine from `peak` at step `warmup` towards `floor`, which it would reach at step `steps`.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    return floor + (peak - floor) * (1 + math.cos(math.pi * done)) / 2


def pack(documents: list[list[int]], length: int, end: int) -> list[list[int]]:
    """Rows of `length` tokens, cut from one long stream: every document, each followed by the token `end`.

    Documents run on from row to row. What is left at the end and fills no row is dropped.
    """
    stream = [token for document in documents for token in [*document, end]]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def newton_schulz(g: Tensor, steps: int) -> Tensor:
    """Nearly the closest orthogonal matrix to `g`, as Muon computes it (Jordan et al., 2024).

    g [m, n], float. X = g / (Frobenius norm + 1e-7); then `steps` times, with A = X X^T:
    X = a X + (b A + c A A) X, (a, b, c) = (3.4445, -4.7750, 2.0315). Returns [m, n].
    """
    return _newton_schulz(g, steps)


def _newton_schulz(g: Tensor, steps: int, coefficients: tuple[float, float, float] = MUON, norm: bool = True) -> Tensor:
    a, b, c = coefficients
    x = g.double() / (g.double().norm() + 1e-7) if norm else g.double()
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.to(g.dtype)


def fit_power_law(compute: Tensor, loss: Tensor) -> tuple[float, float]:
    """The power law loss = a * compute ** -b that is nearest in logarithms (least squares of ln loss).

    compute, loss [n], float, above 0, n of at least 2. Returns (a, b) as floats; b is above 0 where the loss falls.
    """
    x, y = compute.double().log(), loss.double().log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return math.exp(y.mean() - slope * x.mean()), -float(slope)


def _rates() -> list[tuple[str, tuple[Any, ...]]]:
    run = (100, 10, 1.0, 0.1)
    steps = {"the first step": 0, "in the warm-up": 4, "its last step": 9, "the first after it": 10, "half way": 55,
             "the last step": 99}  # fmt: skip
    return [(f"{what} (step {step} of 100)", (step, *run)) for what, step in steps.items()] + [
        ("no warm-up", (0, 50, 0, 0.003, 0.0))
    ]


def _documents() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("two documents, rows of 4", ([[1, 2, 3], [4, 5, 6, 7]], 4, 0)),
        ("a document longer than a row, and a rest", ([[1, 2, 3, 4, 5, 6], [7]], 3, 0)),
        ("an empty document", ([[], [1, 2]], 2, 9)),
        ("too little for a row", ([[1]], 8, 0)),
    ]


def _gradients() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(9)
    return [
        ("a square matrix, one step", (torch.randn(4, 4, generator=g), 1)),
        ("a wide matrix, five steps", (torch.randn(3, 8, generator=g), 5)),
        ("a tall matrix, five steps", (torch.randn(8, 3, generator=g), 5)),
        ("a gradient that is almost nothing", (torch.randn(4, 6, generator=g) * 1e-4, 5)),
    ]


def _runs() -> list[tuple[str, tuple[Any, ...]]]:
    x = torch.tensor([1e3, 1e4, 1e5, 1e6])
    noise = torch.tensor([1.02, 0.97, 1.01, 0.99])
    return [
        ("an exact law", (x, 8 * x**-0.1)),
        ("a law with noise", (x, 5 * x**-0.2 * noise)),
        ("two runs", (x[:2], torch.tensor([3.0, 2.5]))),
    ]


def _padded(documents: list[list[int]], length: int, end: int) -> list[list[int]]:
    return [row for d in documents for row in _rest_kept([d], length, end)]


def _rest_kept(documents: list[list[int]], length: int, end: int) -> list[list[int]]:
    stream = [token for document in documents for token in [*document, end]]
    return [(stream[i : i + length] + [end] * length)[:length] for i in range(0, len(stream), length)]


def _unjoined(documents: list[list[int]], length: int, end: int) -> list[list[int]]:
    stream = [token for document in documents for token in document]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def _straight(compute: Tensor, loss: Tensor) -> tuple[float, float]:
    x, y = compute.double(), loss.double()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return float(y.mean() - slope * x.mean()), -float(slope)


def _linear(step: int, steps: int, warmup: int, peak: float, floor: float) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak - (peak - floor) * (step - warmup) / (steps - warmup)


EXERCISES = (
    Exercise(
        "pretraining.learning_rate",
        learning_rate,
        _rates,
        (
            Mistake("a first step that learns nothing", "What is the rate at step 0?",
                    lambda s, n, w, p, f: p * s / w if s < w else learning_rate(s, n, w, p, f)),
            Mistake("the cosine starts at step 0", "Where should the rate be right after the warm-up?",
                    lambda s, n, w, p, f: learning_rate(s, n, w if s < w else 0, p, f)),
            Mistake("the fall ends at 0, not at the floor", "What is the rate at the last step?",
                    lambda s, n, w, p, f: learning_rate(s, n, w, p, 0.0)),
            Mistake("a straight line, not a cosine", "They agree half way. Compare them after a quarter.", _linear),
        ),
        "Draw the curve: the first step, the end of the warm-up, half way, the last step.",
    ),
    Exercise(
        "pretraining.pack",
        pack,
        _documents,
        (
            Mistake("no token between documents", "How does the model see that a document ended?", _unjoined),
            Mistake("every document in rows of its own", "What do padded places teach?", _padded),
            Mistake("the rest padded into a row", "What happens to what fills no row?", _rest_kept),
        ),
        "Make the one long stream first, then cut.",
    ),
    Exercise(
        "pretraining.newton_schulz",
        newton_schulz,
        _gradients,
        (
            Mistake("not normalised first", "For which singular values does the iteration settle?",
                    lambda g, n: _newton_schulz(g, n, norm=False)),
            Mistake("b and c swapped", "Which coefficient goes with A, and which with A A?",
                    lambda g, n: _newton_schulz(g, n, (MUON[0], MUON[2], MUON[1]))),
            Mistake("Newton and Schulz's own cubic", "Muon's polynomial has three terms.",
                    lambda g, n: _newton_schulz(g, n, (1.5, -0.5, 0.0))),
        ),
        "Watch the singular values of X from step to step: they should gather around 1.",
        tolerance=1e-3,
    ),
    Exercise(
        "pretraining.fit_power_law",
        fit_power_law,
        _runs,
        (
            Mistake("the exponent's sign", "The law is a * compute ** -b: what is b where the loss falls?",
                    lambda x, y: (fit_power_law(x, y)[0], -fit_power_law(x, y)[1])),
            Mistake("a left as a logarithm", "The intercept of the line is ln a.",
                    lambda x, y: (math.log(fit_power_law(x, y)[0]), fit_power_law(x, y)[1])),
            Mistake("a line through the raw values", "In which axes is a power law a straight line?", _straight),
        ),
        "Take two runs only: the line in logarithms goes through both.",
        tolerance=1e-3,
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
