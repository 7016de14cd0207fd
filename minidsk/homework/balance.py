"""Exercises of the chapter on experts: how evenly they are loaded, and what keeps it so (DeepSeek-V3, 2.1.2)."""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def update_bias(bias: Tensor, load: Tensor, speed: float) -> Tensor:
    """The routing bias after one step of balancing without an auxiliary loss (DeepSeek-V3, section 2.1.2).

    bias [E] and load [E], float: how many tokens each expert got. An expert that got fewer than the mean goes up
    by `speed`, one that got more goes down by `speed`, one at the mean stays. Returns a new tensor [E].
    """
    load = load.double()
    return (bias.double() + speed * torch.sign(load.mean() - load)).to(bias.dtype)


def sequence_balance_loss(scores: Tensor, indices: Tensor, alpha: float) -> Tensor:
    """The sequence-wise balance loss (DeepSeek-V3, eq. 17 to 20), the mean over the sequences of a batch.

    scores [B, T, E]: unbiased scores, above 0; indices [B, T, K]: the chosen experts. In each sequence f is each
    expert's share of the T * K choices times E, P the mean over its tokens of the scores divided by each token's sum,
    and the loss is alpha * sum(f * P). Returns a scalar; it is alpha when all is even.
    """
    experts = scores.shape[-1]
    chosen = torch.nn.functional.one_hot(indices, experts).double()
    f = chosen.mean((1, 2)) * experts
    p = (scores.double() / scores.double().sum(-1, keepdim=True)).mean(1)
    return alpha * (f * p).sum(-1).mean()


def max_violation(load: Tensor) -> Tensor:
    """MaxVio (Wang et al., 2024): how far the fullest expert lies above the mean load, as a share of the mean.

    load [E], float: tokens per expert, with a sum above 0. Returns a scalar; 0 is perfect balance.
    """
    load = load.double()
    return load.max() / load.mean() - 1


def _loads() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("an even load", (torch.tensor([5.0, 5, 5, 5]),)),
        ("one full expert", (torch.tensor([14.0, 2, 2, 2]),)),
        ("one idle expert, the rest even", (torch.tensor([8.0, 8, 8, 0]),)),
    ]


def _biases() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("two below the mean, two above", (torch.tensor([0.1, 0.0, -0.2, 0.0]), torch.tensor([1.0, 9, 3, 7]), 0.01)),
        ("one expert at the mean", (torch.zeros(3), torch.tensor([2.0, 4, 6]), 0.001)),
        ("one far above all others", (torch.zeros(4), torch.tensor([100.0, 1, 1, 2]), 0.1)),
        ("a load that is even", (torch.tensor([0.5, -0.5]), torch.tensor([4.0, 4]), 0.01)),
    ]


def _balances() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(4)
    scores = torch.rand(2, 6, 4, generator=g) + 0.05
    far = torch.cat([scores[:1] * torch.tensor([9.0, 1, 1, 1]), scores[1:] * torch.tensor([1.0, 1, 1, 9])])
    return [
        ("two sequences, top 2 of 4", (scores, scores.topk(2).indices, 0.1)),
        ("top 1", (scores, scores.topk(1).indices, 1.0)),
        ("two sequences that lean to different experts", (far, far.topk(2).indices, 1.0)),
        ("an even load", (torch.full((1, 4, 4), 0.7), torch.arange(4).view(1, 4, 1), 0.01)),
    ]


def _per_batch(scores: Tensor, indices: Tensor, alpha: float) -> Tensor:
    return sequence_balance_loss(scores.flatten(0, 1)[None], indices.flatten(0, 1)[None], alpha)


def _raw_scores(scores: Tensor, indices: Tensor, alpha: float) -> Tensor:
    f = torch.nn.functional.one_hot(indices, scores.shape[-1]).double().mean((1, 2)) * scores.shape[-1]
    return alpha * (f * scores.double().mean(1)).sum(-1).mean()


EXERCISES = (
    Exercise(
        "moe.update_bias",
        update_bias,
        _biases,
        (
            Mistake("the wrong sign", "An overloaded expert should become less attractive.",
                    lambda b, n, s: update_bias(b, -n, s)),
            Mistake("a step in proportion to the load", "Does V3's step depend on how far the load is off?",
                    lambda b, n, s: b + s * (n.double().mean() - n).to(b.dtype)),
            Mistake("a step in proportion to the relative load", "Does V3's step depend on how far the load is off?",
                    lambda b, n, s: b + s * (1 - n / n.double().mean()).to(b.dtype)),
            Mistake("the median where the mean belongs", "One expert far above all others: who is below the mean?",
                    lambda b, n, s: b + s * torch.sign(n.double().quantile(0.5) - n).to(b.dtype)),
            Mistake("torch.median where the mean belongs", "The task asks for the mean. And which of the two middle "
                    "numbers does torch.median return?",
                    lambda b, n, s: b + s * torch.sign(n.median() - n).to(b.dtype)),
        ),
        "For each expert: is it above or below the mean, and which way should its bias go?",
        tolerance=1e-6,
    ),
    Exercise(
        "moe.sequence_balance_loss",
        sequence_balance_loss,
        _balances,
        (
            Mistake("one balance for the whole batch", "Sequence-wise: what is f computed over?", _per_batch),
            Mistake("scores not normalised", "P averages shares: what must a token's scores sum to?", _raw_scores),
            Mistake("K left out of f", "With an even load the loss is alpha, whatever K is.",
                    lambda s, i, a: sequence_balance_loss(s, i, a) * i.shape[-1]),
            Mistake("E left out of f, or the mean over the experts where the sum belongs",
                    "With an even load the loss is alpha, whatever E is.",
                    lambda s, i, a: sequence_balance_loss(s, i, a) / s.shape[-1]),
            Mistake("sequences summed", "A batch of two equal sequences costs as much as one.",
                    lambda s, i, a: sequence_balance_loss(s, i, a) * len(s)),
            Mistake("alpha left out", "What is the loss where alpha is 0?",
                    lambda s, i, a: sequence_balance_loss(s, i, 1.0)),
        ),
        "Compute f and P for one sequence of two tokens by hand.",
    ),
    Exercise(
        "moe.max_violation",
        max_violation,
        _loads,
        (
            Mistake("1 not subtracted", "Perfect balance should give 0.", lambda n: max_violation(n) + 1),
            Mistake("an idle expert counted as a violation", "Which side of the mean does MaxVio look at?",
                    lambda n: (n.double() - n.double().mean()).abs().max() / n.double().mean()),
            Mistake("divided by the largest load", "The violation is a share of which load?",
                    lambda n: 1 - n.double().mean() / n.max()),
        ),
        "Take a load of [14, 2, 2, 2]: how many times its fair share does the first expert carry?",
    ),
)  # fmt: skip
"""Part of `moe.EXERCISES`."""
