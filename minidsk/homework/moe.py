"""Exercises of the chapter on experts: who works on which token (DeepSeek-V3, section 2.1.2)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minidsk.homework import balance
from minidsk.homework.exercise import Exercise, Mistake


def router(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    top_k: int,
    n_group: int,
    topk_group: int,
    norm_topk_prob: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Choose `top_k` experts for each token and weigh them (DeepSeek-V3, eq. 12 to 16, with group-limited routing).

    x [N, H] and weight [E, H], float; bias [E] is added to the sigmoid scores for the choice alone. The experts form
    `n_group` neighbouring groups of equal size; a group's score is the sum of its two best biased scores, and only the
    `topk_group` best groups stay in the choice. The weights are the chosen unbiased scores, divided by their sum where
    `norm_topk_prob` says so, times `scale`.
    Returns weights [N, top_k] (of x's dtype) and indices [N, top_k] (integer), each token's experts in any order.
    """
    return _route(x, weight, bias, top_k, n_group, topk_group, norm_topk_prob, scale)


def _route(
    x: Tensor, weight: Tensor, bias: Tensor, top_k: int, n_group: int, topk_group: int, norm: bool, scale: float, *,
    score: str = "sigmoid", leak: bool = False, limit: str = "before", best: int = 2, dropped: float = float("-inf"),
    judged: str = "biased",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    logits = x.double() @ weight.double().T
    scores = logits.sigmoid() if score == "sigmoid" else logits.softmax(-1)
    choice = scores + bias.double()
    groups = choice.view(len(x), n_group, -1)
    members = groups if judged == "biased" else scores.view_as(groups)
    kept = torch.zeros(len(x), n_group, dtype=torch.bool)
    kept.scatter_(1, members.topk(min(best, groups.shape[-1])).values.sum(-1).topk(topk_group).indices, True)
    masked = groups.masked_fill(~kept[..., None], dropped).flatten(1)
    indices = (masked if limit == "before" else choice).topk(top_k).indices
    weights = (choice if leak else scores).gather(1, indices)
    if limit == "after":  # the choice fell without groups; what lies outside them is weighed with 0
        weights = weights * kept.repeat_interleave(groups.shape[-1], 1).gather(1, indices)
    if norm:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return (weights * scale).to(x.dtype), indices


def _with(place: int, value: Any) -> Callable[..., Any]:
    return lambda *a: router(*(*a[:place], value, *a[place + 1 :]))


def _by_expert(output: Any) -> Any:
    weights, indices = output
    order = indices.argsort(-1)
    return weights.gather(-1, order), indices.gather(-1, order)


def dispatch(indices: Tensor, n_experts: int) -> tuple[Tensor, Tensor]:
    """Put the choices of a batch into the order in which the experts work on them.

    indices [N, K], integer. Choice number n * K + k is token n's k-th. Returns order [N * K], the numbers of the
    choices, all of expert 0 first (within an expert in any order), and counts [n_experts]: how many each expert has.
    """
    flat = indices.flatten()
    return flat.argsort(stable=True), torch.bincount(flat, minlength=n_experts)


def _segments(output: Any) -> Any:
    order, counts = output
    if int(counts.sum()) != len(order):
        return order, counts
    return [part.sort().values for part in order.split(counts.tolist())], counts


def _routings() -> list[tuple[str, tuple[Any, ...]]]:
    g = torch.Generator().manual_seed(3)
    x, weight = torch.randn(6, 5, generator=g), torch.randn(8, 5, generator=g)
    none, bias = torch.zeros(8), torch.randn(8, generator=g) * 0.3
    return [
        ("8 experts, top 2, no bias, one group", (x, weight, none, 2, 1, 1, True, 1.0)),
        ("a bias that changes the choice", (x, weight, bias, 2, 1, 1, True, 1.0)),
        ("4 groups of which 2 stay", (x, weight, bias, 3, 4, 2, True, 1.0)),
        ("weights not normalised", (x, weight, bias, 2, 2, 1, False, 1.0)),
        ("a scale of 2.5", (x, weight, bias, 3, 4, 2, True, 2.5)),
        ("biases far below zero", (x, weight, bias - 3, 3, 4, 2, False, 1.5)),
        ("a single token", (x[:1], weight, bias, 1, 4, 1, True, 1.0)),
    ]


def _dispatches() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("three tokens, top 2 of 4", (torch.tensor([[2, 0], [0, 1], [2, 3]]), 4)),
        ("experts without a token", (torch.tensor([[1], [1], [3], [0]]), 6)),
        ("all to one expert", (torch.tensor([[1], [1]]), 2)),
    ]


def _token_numbers(indices: Tensor, n_experts: int) -> tuple[Tensor, Tensor]:
    order, counts = dispatch(indices, n_experts)
    return order // indices.shape[1], counts


def _ranks(indices: Tensor, n_experts: int) -> tuple[Tensor, Tensor]:
    order, counts = dispatch(indices, n_experts)
    return order.argsort(), counts


EXERCISES = (
    Exercise(
        "moe.router",
        router,
        _routings,
        (
            Mistake("the bias leaks into the weights", "What is the bias for: the choice, the weight, or both?",
                    lambda *a: _route(*a, leak=True)),
            Mistake("softmax where sigmoid belongs", "Do V3's experts compete for one unit of score?",
                    lambda *a: _route(*a, score="softmax")),
            Mistake("top-k before the group limit", "May an expert outside the kept groups be chosen at all?",
                    lambda *a: _route(*a, limit="after")),
            Mistake("the group limit left out", "What do n_group and topk_group forbid?",
                    lambda *a: _route(*a, limit="none")),
            Mistake("a group judged by its best expert alone", "How many of a group's scores make up its own?",
                    lambda *a: _route(*a, best=1)),
            Mistake("dropped groups set to 0", "Is 0 less than every biased score?",
                    lambda *a: _route(*a, dropped=0.0)),
            Mistake("weights never normalised", "When norm_topk_prob is on, what do a token's weights sum to?",
                    _with(6, False)),
            Mistake("weights always normalised", "What does norm_topk_prob=False ask for?",
                    _with(6, True)),
            Mistake("the scale left out", "Compare a run at scale 1 with one at 2.5.",
                    _with(7, 1.0)),
            Mistake("groups judged without the bias", "The bias is for the choice. Is choosing a group part of that?",
                    lambda *a: _route(*a, judged="unbiased")),
        ),
        "Print one token's scores, biased scores, group scores, choice and weights, in this order.",
        canonical=_by_expert,
    ),
    *balance.EXERCISES,
    Exercise(
        "moe.dispatch",
        dispatch,
        _dispatches,
        (
            Mistake("token numbers, not choice numbers", "With top 2 each token is there twice: which of its choices?",
                    _token_numbers),
            Mistake("idle experts left out of the counts", "How long must counts be when the last expert has no token?",
                    lambda i, n: (dispatch(i, n)[0], torch.bincount(i.flatten()))),
            Mistake("the rank of each choice, not the order", "order[0] is the first choice that expert 0 works on.",
                    _ranks),
        ),
        "Write the flattened indices above the numbers 0, 1, 2, ... and sort the columns.",
        canonical=_segments,
    ),
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
