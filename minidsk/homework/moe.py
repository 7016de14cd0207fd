"""Exercises of the chapter on experts: routing and balancing (DeepSeek-V3, sections 2.1.2 and 2.1.3)."""

# Longer than 250 lines because the exercises of a chapter, and what goes wrong in them, are one list.

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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


def _dispatches() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("three tokens, top 2 of 4", (torch.tensor([[2, 0], [0, 1], [2, 3]]), 4)),
        ("experts without a token", (torch.tensor([[1], [1], [3], [0]]), 6)),
        ("all to one expert", (torch.tensor([[1], [1]]), 2)),
    ]


def _per_batch(scores: Tensor, indices: Tensor, alpha: float) -> Tensor:
    return sequence_balance_loss(scores.flatten(0, 1)[None], indices.flatten(0, 1)[None], alpha)


def _raw_scores(scores: Tensor, indices: Tensor, alpha: float) -> Tensor:
    f = torch.nn.functional.one_hot(indices, scores.shape[-1]).double().mean((1, 2)) * scores.shape[-1]
    return alpha * (f * scores.double().mean(1)).sum(-1).mean()


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
