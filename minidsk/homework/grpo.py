"""Exercises of the chapters on GRPO: its loss, which is the clip, the average over tokens, and the price of KL.

Sources: DeepSeekMath (arXiv:2402.03300, equations 3 and 4), Dr. GRPO (arXiv:2503.20783), DAPO (arXiv:2503.14476).
"""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework import answers, groups
from minidsk.homework.exercise import Exercise, Mistake


def clipped_loss(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """The clipped surrogate of every token, as a loss (PPO, eq. 7; two bounds as in DAPO, eq. 8).

    logp and old_logp [N, T], float: log-probabilities of the sampled tokens now, and when they were sampled;
    advantages [N], one per answer. Returns [N, T]: minus the smaller of ratio * advantage and clipped ratio *
    advantage, with the ratio clipped to [1 - clip_low, 1 + clip_high]. A small loss is a good one.
    """
    ratio, a = (logp - old_logp).double().exp(), advantages.double().unsqueeze(1)
    return -torch.minimum(ratio * a, ratio.clamp(1 - clip_low, 1 + clip_high) * a).to(logp.dtype)


def average(losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    """One loss from the losses of all tokens.

    losses [N, T], float, and mask [N, T], 1 on an answer's tokens and 0 on padding. how: "grpo", the mean over each
    answer's own tokens, then over answers; "dapo", the mean over all tokens of all answers; "dr_grpo", the sum over
    all tokens, divided by N * max_length. Returns a scalar.
    """
    masked, mask = losses.double() * mask, mask.double()
    if how == "grpo":
        return (masked.sum(1) / mask.sum(1)).mean().to(losses.dtype)
    below = mask.sum() if how == "dapo" else len(losses) * max_length
    return (masked.sum() / below).to(losses.dtype)


def kl_estimators(logp: Tensor, ref_logp: Tensor) -> dict[str, Tensor]:
    """Three estimates of KL(policy, reference) at each sampled token (Schulman, 2020; k3 is DeepSeekMath's eq. 4).

    logp and ref_logp [...], float: log-probabilities of tokens that the policy sampled. With d = ref_logp - logp,
    returns {"k1": -d, "k2": half the square of d, "k3": exp(d) - d - 1}.
    """
    d = ref_logp.double() - logp.double()
    return {name: k.to(logp.dtype) for name, k in (("k1", -d), ("k2", d.square() / 2), ("k3", d.exp() - d - 1))}


def _parts(logp: Tensor, old: Tensor, a: Tensor, low: float, high: float) -> tuple[Tensor, Tensor, Tensor]:
    ratio = (logp - old).exp()
    return ratio, ratio.clamp(1 - low, 1 + high), a.unsqueeze(1)


def _larger(*arguments: Any) -> Tensor:
    ratio, clipped, a = _parts(*arguments)
    return -torch.maximum(ratio * a, clipped * a)


def _smaller_ratio(*arguments: Any) -> Tensor:
    ratio, clipped, a = _parts(*arguments)
    return -torch.minimum(ratio, clipped) * a


def _always_clipped(*arguments: Any) -> Tensor:
    _, clipped, a = _parts(*arguments)
    return -clipped * a


def _no_exp(logp: Tensor, old: Tensor, a: Tensor, low: float, high: float) -> Tensor:
    ratio, a = logp - old, a.unsqueeze(1)
    return -torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)


def _answers(losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    return average(losses, torch.ones_like(mask), how, max_length)


def _longest(losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    return average(losses, mask, how, losses.shape[1])


def _tokens_there(losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    return average(losses, mask, "dapo" if how == "dr_grpo" else how, max_length)


def _no_inner_mean(losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    return (losses * mask).sum(1).mean() if how == "grpo" else average(losses, mask, how, max_length)


def _all_columns(whom: tuple[str, ...], losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    return (losses * mask).mean() if how in whom else average(losses, mask, how, max_length)


def _exchanged(losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    return average(losses, mask, {"grpo": "dapo", "dapo": "grpo"}.get(how, how), max_length)


def _short_of(what: str, losses: Tensor, mask: Tensor, how: str, max_length: int) -> Tensor:
    """dr_grpo not divided by the number of answers, or not by max_length."""
    right = average(losses, mask, how, max_length)
    return right * (len(losses) if what == "answers" else max_length) if how == "dr_grpo" else right


def _ratios() -> list[tuple[str, tuple[Any, ...]]]:
    def now(*rows: list[float]) -> tuple[Tensor, Tensor]:
        old = torch.tensor([[-1.5, -0.7, -3.0][: len(rows[0])]] * len(rows))
        return old + torch.tensor(rows).log(), old

    good, bad = torch.tensor([1.0]), torch.tensor([-1.0])
    return [
        ("nothing has moved yet", (*now([1.0, 1.0]), good, 0.2, 0.2)),
        ("a bad answer, 20 times likelier than before", (*now([20.0]), bad, 0.2, 0.2)),
        ("a bad answer, half as likely as before", (*now([0.5]), bad, 0.2, 0.2)),
        ("a good answer, likelier and less likely", (*now([3.0, 0.5]), good, 0.2, 0.2)),
        ("a good answer between the two bounds", (*now([1.25, 1.1]), good, 0.2, 0.28)),
        ("one good and one bad answer", (*now([0.9, 1.5, 0.4], [1.05, 0.6, 2.0]), torch.tensor([1.5, -0.5]), 0.1, 0.3)),
    ]


def _token_losses() -> list[tuple[str, tuple[Any, ...]]]:
    losses = torch.tensor([[-1.0, -1, 7, 7, 7], [0.5, 0.5, 0.5, 0.5, 7], [2.0, 7, 7, 7, 7]])
    mask = torch.tensor([[1.0, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]])
    return [(f"answers of 2, 4 and 1 tokens, {how}", (losses, mask, how, 8)) for how in ("grpo", "dapo", "dr_grpo")]


def _log_probabilities() -> list[tuple[str, tuple[Any, ...]]]:
    p, q = torch.tensor([[0.5, 0.25], [0.1, 0.8]]), torch.tensor([[0.25, 0.5], [0.1, 0.4]])
    return [
        ("half as likely in the reference", (torch.tensor([0.5]).log(), torch.tensor([0.25]).log())),
        ("both agree", (q.log(), q.log())),
        ("two answers of two tokens", (p.log(), q.log())),
    ]


EXERCISES = (
    Exercise(
        "grpo.clipped_loss",
        clipped_loss,
        _ratios,
        (
            Mistake("the larger of the two, not the smaller", "A = -1 and ratio 20: is the loss 20 or 1.2?", _larger),
            Mistake("the smaller ratio, whatever the sign", "The smaller of two products: which is it where A = -1?",
                    _smaller_ratio),
            Mistake("the lower bound's width for both bounds", "clip_high is the bound above; try a ratio of 1.25.",
                    lambda n, o, a, low, high: clipped_loss(n, o, a, low, low)),
            Mistake("clipped always", "A bad answer became 20 times likelier: what brings it down again?",
                    _always_clipped),
            Mistake("never clipped", "A good answer is three times likelier already: how far should it rise?",
                    lambda n, o, a, low, high: -(n - o).exp() * a.unsqueeze(1)),
            Mistake("the sign of a reward, not of a loss", "Optimizers minimise: should a good loss be high?",
                    lambda *a: -clipped_loss(*a)),
            Mistake("the ratio upside down", "Is the ratio new / old, or old / new?",
                    lambda n, o, *a: clipped_loss(o, n, *a)),
            Mistake("the two bounds swapped", "How far below 1 may the ratio go, and how far above?",
                    lambda n, o, a, low, high: clipped_loss(n, o, a, high, low)),
            Mistake("the logarithm of the ratio, without exp", "What is the ratio where nothing has moved: 0 or 1?",
                    _no_exp),
        ),
        "Write the two products of one token side by side, for A = 1 and for A = -1.",
    ),
    *groups.EXERCISES,
    Exercise(
        "grpo.average",
        average,
        _token_losses,
        (
            Mistake("padding counted", "The model did not write what comes after the end of an answer.", _answers),
            Mistake("one mean for all three", "Which of the three gives every answer the same weight?",
                    lambda x, m, how, n: average(x, m, "dapo", n)),
            Mistake("divided by the longest in the batch", "dr_grpo divides by a constant that no batch changes.",
                    _longest),
            Mistake("divided by the tokens in the batch", "dr_grpo divides by a constant that no batch changes.",
                    _tokens_there),
            Mistake("no mean within the answer", "grpo: should an answer that is twice as long weigh more?",
                    _no_inner_mean),
            Mistake("grpo: divided by all columns", "mean(1) counts the zeros of the padding. How many tokens does "
                    "an answer have?",
                    lambda *a: _all_columns(("grpo",), *a)),
            Mistake("dapo: divided by all columns", "mean() also counts the zeros of the padding.",
                    lambda *a: _all_columns(("dapo",), *a)),
            Mistake("grpo and dapo: divided by all columns", "A mean over a masked row also counts the zeros.",
                    lambda *a: _all_columns(("grpo", "dapo"), *a)),
            Mistake("grpo and dapo swapped", "Which of the two gives every answer the same weight, however long?",
                    _exchanged),
            Mistake("dr_grpo: not divided by the number of answers", "Should twice as many answers cost twice as much?",
                    lambda *a: _short_of("answers", *a)),
            Mistake("dr_grpo: not divided by max_length", "dr_grpo divides the sum by two numbers.",
                    lambda *a: _short_of("length", *a)),
        ),
        "Take answers of 2 and 4 tokens: by what is a single token's loss divided, in each of the three?",
    ),
    Exercise(
        "grpo.kl_estimators",
        kl_estimators,
        _log_probabilities,
        (
            Mistake("policy and reference swapped", "k1 averages log(policy / reference) over the policy's tokens.",
                    lambda p, q: kl_estimators(q, p)),
            Mistake("k1 with the wrong sign", "Averaged over the policy's tokens, a KL is never negative.",
                    lambda p, q: kl_estimators(p, q) | {"k1": q - p}),
            Mistake("k2 without its half", "Near d = 0, k2 and k3 should be almost equal: expand exp(d).",
                    lambda p, q: kl_estimators(p, q) | {"k2": (q - p).square()}),
            Mistake("k3 that is not 0 where both agree", "What is exp(0) - 0?",
                    lambda p, q: kl_estimators(p, q) | {"k3": (q - p).exp() - (q - p)}),
            Mistake("k3 of the inverted ratio", "The ratio in k3 is reference / policy.",
                    lambda p, q: kl_estimators(p, q) | {"k3": (p - q).exp() - (p - q) - 1}),
        ),
        "Policy 1/2, reference 1/4: d is -0.69. Compute the three by hand.",
    ),
    *answers.EXERCISES,
)  # fmt: skip
"""The exercises of the chapters on GRPO and on its variants; the first is the first chapter's bug zoo."""
