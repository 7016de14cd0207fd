"""Exercises of the chapter on pretraining: schedule, Muon, a scaling law with a floor."""

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


def fit_floor(n: Tensor, d: Tensor, loss: Tensor, floors: list[float]) -> tuple[float, float, float]:
    """The law loss = floor + a * n ** -alpha * d ** -beta that is nearest to the losses in logarithms.

    n, d, loss [runs], float, above 0: FLOPs per token, tokens, loss. Each of the `floors` that is below the lowest
    loss is tried. It is subtracted, and a, alpha and beta are fitted to the rest by least squares of the logarithms.
    The law, floor included, is then judged by the sum of (ln law - ln loss) ** 2. Returns the floor with the smallest
    sum, and its alpha and beta, as floats.
    """
    return _fit_floor(n, d, loss, floors)


def _fit_floor(
    n: Tensor, d: Tensor, loss: Tensor, floors: list[float], compared: str = "whole"
) -> tuple[float, float, float]:
    n, d, loss = n.double(), d.double(), loss.double()
    columns = torch.stack((torch.ones_like(n), -n.log(), -d.log()), dim=1)
    tried = []
    for floor in floors:
        if floor >= loss.min():
            continue
        above = (loss - floor).log()
        fitted = torch.linalg.lstsq(columns, above[:, None]).solution
        told = (columns @ fitted).flatten()
        miss = {
            "whole": (floor + told.exp()).log() - loss.log(),
            "above the floor": told - above,
            "not put back": told - loss.log(),
        }[compared]
        tried.append((miss.square().sum().item(), floor, fitted[1].item(), fitted[2].item()))
    return min(tried)[1:]


def _rates() -> list[tuple[str, tuple[Any, ...]]]:
    run = (100, 10, 1.0, 0.1)
    steps = {"the first step": 0, "in the warm-up": 4, "its last step": 9, "the first after it": 10, "half way": 55,
             "the last step": 99}  # fmt: skip
    return [(f"{what} (step {step} of 100)", (step, *run)) for what, step in steps.items()] + [
        ("no warm-up", (0, 50, 0, 0.003, 0.0))
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
    n = torch.tensor([1e3, 1e4, 1e5]).repeat_interleave(3)
    d = torch.tensor([1e2, 1e3, 1e4]).repeat(3)
    law = 8 * n**-0.1 * d**-0.4
    noise = torch.tensor([1.04, 0.97, 1.02, 0.99, 1.03, 0.96, 0.98, 1.05, 0.97])
    floors = [i / 20 for i in range(12)]
    return [
        ("an exact law with a floor of 0.3", (n, d, 0.3 + law, floors)),
        ("an exact law without a floor", (n, d, law, floors)),
        ("a law with a floor and noise", (n, d, (0.5 + law) * noise, floors)),
        ("a floor above the lowest loss", (n, d, 0.3 + law, [0.2, 2.0])),
    ]


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
        "pretraining.fit_floor",
        fit_floor,
        _runs,
        (
            Mistake("n and d exchanged", "Which exponent belongs to the tokens?",
                    lambda n, d, x, f: _fit_floor(d, n, x, f)),
            Mistake("the exponents' signs", "The law is a * n ** -alpha: what is alpha where the loss falls?",
                    lambda n, d, x, f: (_fit_floor(n, d, x, f)[0], *(-e for e in _fit_floor(n, d, x, f)[1:]))),
            Mistake("the floor is not subtracted before the fit", "Which part of the loss is a power law?",
                    lambda n, d, x, f: (min(f), *_fit_floor(n, d, x, [0.0])[1:])),
            Mistake("the floor is not put back", "The law without its floor is compared with the whole loss.",
                    lambda n, d, x, f: _fit_floor(n, d, x, f, "not put back")),
            Mistake("misses compared above the floor", "Put the floor back, in the law and in the loss.",
                    lambda n, d, x, f: _fit_floor(n, d, x, f, "above the floor")),
        ),
        "Try one floor only: subtract it, fit, put it back, and compare with the losses.",
        tolerance=1e-3,
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
