"""Exercises on whole answers, of the chapters on GRPO: which tokens an answer has, and one ratio for all of them.

Source of the ratio: GSPO (arXiv:2507.18071, equation 7).
"""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def answer_mask(ids: Tensor, prompt: int, end: int) -> Tensor:
    """Which tokens the model wrote itself. The loss may count only these.

    ids [N, T], int64: `prompt` tokens of a prompt, then an answer, then anything. end: the id of the token that
    ends an answer. Returns [N, T], bool: True on the tokens of the answer, its first end token included. An answer
    without an end token was cut off at T, and all its tokens count.
    """
    is_end = ids == end
    is_end[:, :prompt] = False
    ended_before = is_end.long().cumsum(1) - is_end.long() > 0
    return (torch.arange(ids.shape[1]) >= prompt) & ~ended_before


def sequence_ratio(logp: Tensor, old_logp: Tensor, mask: Tensor) -> Tensor:
    """One ratio for each answer: the geometric mean of the ratios of its tokens (GSPO, equation 7).

    logp and old_logp [N, T], float: log-probabilities of the sampled tokens now, and when they were sampled; mask
    [N, T], 1 on an answer's tokens and 0 on padding. Returns [N].
    """
    change = (logp - old_logp).double() * mask
    return (change.sum(1) / mask.sum(1)).exp().to(logp.dtype)


def _shifted(ids: Tensor, prompt: int, end: int) -> Tensor:
    return answer_mask(ids, prompt, end).roll(-1, 1)


def _to_the_last_end(ids: Tensor, prompt: int, end: int) -> Tensor:
    places = torch.arange(ids.shape[1])
    is_end = (ids == end) & (places >= prompt)
    last = torch.where(is_end, places, -1).amax(1, keepdim=True)
    return (places >= prompt) & ((places <= last) | (last < 0))


def _prompts_ends_too(ids: Tensor, prompt: int, end: int) -> Tensor:
    is_end = (ids == end).long()
    return (torch.arange(ids.shape[1]) >= prompt) & (is_end.cumsum(1) - is_end == 0)


def _rows() -> list[tuple[str, tuple[Any, ...]]]:
    ids = torch.tensor([[5, 6, 7, 2, 0, 0], [5, 6, 8, 9, 2, 0], [5, 6, 8, 8, 9, 9]])
    return [
        ("a prompt of 2 tokens, answers of 2, 3 and 4 tokens", (ids, 2, 2)),
        ("a second end after the first", (torch.tensor([[5, 6, 2, 7, 2, 0]]), 1, 2)),
        ("padding that is the end token itself", (torch.tensor([[5, 6, 2, 2, 2]]), 1, 2)),
        ("an end token within the prompt", (torch.tensor([[5, 2, 6, 7, 2, 0]]), 3, 2)),
    ]


def _ratios() -> list[tuple[str, tuple[Any, ...]]]:
    old = torch.tensor([[-1.0, -2.0, -0.5, -0.5], [-3.0, -1.0, -1.0, -1.0]])
    moved = torch.tensor([[0.5, -0.3, 4.0, 4.0], [0.2, 0.2, 0.5, -0.1]])
    mask = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    return [
        ("answers of 2 and 4 tokens", (old + moved, old, mask)),
        ("nothing has moved", (old, old, mask)),
        ("one token", (torch.tensor([[-1.0]]), torch.tensor([[-2.0]]), torch.ones(1, 1))),
    ]


EXERCISES = (
    Exercise(
        "grpo.answer_mask",
        answer_mask,
        _rows,
        (
            Mistake("the prompt counted", "Who wrote the prompt: the model, or the author of the problem?",
                    lambda ids, prompt, end: answer_mask(ids, 0, end)),
            Mistake("the end token left out", "How would the model learn to stop?",
                    lambda ids, prompt, end: answer_mask(ids, prompt, end) & (ids != end)),
            Mistake("padding counted", "Which tokens come after the first end token?",
                    lambda ids, prompt, end: (torch.arange(ids.shape[1]) >= prompt).expand(ids.shape)),
            Mistake("one place too early", "Mark the tokens themselves, not the positions that predict them.",
                    _shifted),
            Mistake("up to the last end token", "The answer is over at the first one.", _to_the_last_end),
            Mistake("an end token in the prompt ends the answer", "Where does the search for the end begin?",
                    _prompts_ends_too),
        ),
        "Write ids and mask of one row below each other, for a prompt of 2 tokens and an answer of 2.",
    ),
    Exercise(
        "grpo.sequence_ratio",
        sequence_ratio,
        _ratios,
        (
            Mistake("the product, without the root", "An answer twice as long would move twice as far.",
                    lambda n, o, m: ((n - o) * m).sum(1).exp()),
            Mistake("the arithmetic mean of the ratios", "Ratios of 2 and 1/2: is their mean 1 or 1.25?",
                    lambda n, o, m: ((n - o).exp() * m).sum(1) / m.sum(1)),
            Mistake("padding counted", "Which tokens belong to the answer?", lambda n, o, m: (n - o).mean(1).exp()),
            Mistake("divided by all columns", "mean(1) counts the zeros of the padding. How long is the answer?",
                    lambda n, o, m: ((n - o) * m).mean(1).exp()),
            Mistake("the ratio upside down", "Is the ratio new / old, or old / new?",
                    lambda n, o, m: sequence_ratio(o, n, m)),
            Mistake("the logarithm of the ratio", "What is the ratio where nothing has moved: 0 or 1?",
                    lambda n, o, m: sequence_ratio(n, o, m).log()),
        ),
        "Two tokens whose log-probabilities moved by +0.5 and -0.3: what is the mean, and its exponential?",
    ),
)  # fmt: skip
"""Part of `grpo.EXERCISES`."""
