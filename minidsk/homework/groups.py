"""Exercises of the chapters on GRPO: what the rewards of a group say of its answers, without a critic.

Sources: DeepSeekMath (arXiv:2402.03300, section 4.1), RLOO (Kool et al., 2019), DAPO (arXiv:2503.14476).
"""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def advantages(rewards: Tensor, eps: float) -> Tensor:
    """How much better each answer is than the others to its prompt.

    rewards [P, G], float: G answers to each of P prompts. Returns [P, G]: (reward - mean) / (deviation + eps), with the
    mean and the standard deviation of the answer's own group. The standard deviation divides by G - 1.
    """
    return _advantages(rewards, eps)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Each answer's reward minus the mean reward of the other answers of its group (Kool et al., 2019).

    rewards [P, G], float: a row per group, G at least 2. Returns [P, G].
    """
    others = rewards.double().sum(1, keepdim=True) - rewards
    return (rewards - others / (rewards.shape[1] - 1)).to(rewards.dtype)


def with_signal(rewards: Tensor, wanted: int) -> Tensor:
    """The groups that dynamic sampling keeps (DAPO, section 3.2).

    rewards [P, G], float: the groups in the order in which they were sampled. Returns the indices of the first
    `wanted` groups whose rewards are not all equal, in order (integer; fewer if there are not that many).
    """
    return (rewards != rewards[:, :1]).any(1).nonzero().flatten()[:wanted]


def _advantages(rewards: Tensor, eps: float, *, ddof: int = 1, dims: tuple[int, ...] = (1,), power: int = 1) -> Tensor:
    r = rewards.double()
    deviation = r.std(dims, correction=ddof, keepdim=True) ** power
    return ((r - r.mean(dims, keepdim=True)) / (deviation + eps)).to(rewards.dtype)


def _rewards() -> list[tuple[str, tuple[Any, ...]]]:
    ladder = torch.tensor([[0.0, 0, 0, 1], [1.0, 1, 1, 0], [0.0, 0.1, 1.1, 1]])
    return [
        ("four answers to three prompts", (ladder, 1e-4)),
        ("all answers right", (torch.ones(2, 4), 1e-4)),
        ("all wrong beside one right", (torch.tensor([[0.0, 0, 0, 0], [0.0, 0, 1, 0]]), 1e-4)),
        ("a group of two", (torch.tensor([[0.25, 0.75]]), 1e-2)),
    ]


def _groups() -> list[tuple[str, tuple[Any, ...]]]:
    rewards = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 1, 0], [0.5, 0.5, 0.5], [1, 1, 0], [0.1, 0, 0], [0, 1, 1]])
    return [
        ("seven groups, all with a signal", (rewards, 7)),
        ("seven groups, the first two", (rewards, 2)),
        ("none with a signal", (torch.tensor([[1.0, 1], [0, 0]]), 1)),
    ]


EXERCISES = (
    Exercise(
        "grpo.advantages",
        advantages,
        _rewards,
        (
            Mistake("standard deviation that divides by G", "G answers are a sample: what divides their deviation?",
                    lambda r, e: _advantages(r, e, ddof=0)),
            Mistake("one mean for the whole batch", "Each answer is compared with which others?",
                    lambda r, e: _advantages(r, e, dims=(0, 1))),
            Mistake("eps left out", "What is 0 / 0, when all answers are right?", lambda r, e: _advantages(r, 0.0)),
            Mistake("divided by the variance", "Rewards and their deviation have the same unit.",
                    lambda r, e: _advantages(r, e, power=2)),
            Mistake("not divided", "This is Dr. GRPO's advantage; the task asks for GRPO's.",
                    lambda r, e: r - r.mean(1, keepdim=True)),
        ),
        "Take the rewards 0, 0, 0, 1: what are the mean, the deviation and the four advantages?",
    ),
    Exercise(
        "grpo.leave_one_out",
        leave_one_out,
        lambda: [(name, case[:1]) for name, case in _rewards()],
        (
            Mistake("the answer in its own mean", "With two answers, whom is each compared with?",
                    lambda r: r - r.mean(1, keepdim=True)),
            Mistake("the sum of the others divided by G", "How many others are there?",
                    lambda r: r - (r.sum(1, keepdim=True) - r) / r.shape[1]),
            Mistake("the others of all groups", "Is an easy question's answer compared with a hard one's?",
                    lambda r: r - (r.sum() - r) / (r.numel() - 1)),
            Mistake("divided by the deviation", "RLOO subtracts, and does nothing else.",
                    lambda r: leave_one_out(r) / (r.std(1, keepdim=True) + 1e-4)),
            Mistake("the mean of the others itself", "An advantage is a difference: what remains to be done?",
                    lambda r: r - leave_one_out(r)),
        ),
        "Add up the group and take away the answer's own reward: that is the sum of the others.",
    ),
    Exercise(
        "grpo.with_signal",
        with_signal,
        _groups,
        (
            Mistake("groups that are all right kept", "What are the advantages where all four are right?",
                    lambda r, n: (r > 0).any(1).nonzero().flatten()[:n]),
            Mistake("judged by the mean", "Three rewards of 0.5: is there anything to prefer?",
                    lambda r, n: ((r.mean(1) > 0) & (r.mean(1) < 1)).nonzero().flatten()[:n]),
            Mistake("only rewards of 1 count", "Rewards 0.1, 0, 0: one is better than the others.",
                    lambda r, n: ((r == 1).any(1) & (r != r[:, :1]).any(1)).nonzero().flatten()[:n]),
            Mistake("all of them, not only `wanted`", "A batch has room for `wanted` groups.",
                    lambda r, n: with_signal(r, len(r))),
        ),
        "Go through the groups one by one: are the rewards of the group all equal?",
    ),
)  # fmt: skip
"""Part of `grpo.EXERCISES`."""
