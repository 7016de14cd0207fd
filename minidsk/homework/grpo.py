"""The exercise that groups bring: advantages without a critic (DeepSeekMath, section 4.1; R1, eq. 3)."""

from typing import Any

import torch
from torch import Tensor

from minidsk.homework.exercise import Exercise, Mistake


def advantages(rewards: Tensor, eps: float) -> Tensor:
    """How much better each answer is than the others to its prompt.

    rewards [P, G], float: G answers to each of P prompts. Returns [P, G]: the reward less its group's mean, divided by
    (its group's standard deviation, with G - 1 below the sum, + eps).
    """
    return _advantages(rewards, eps)


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


EXERCISES = (
    Exercise(
        "grpo.advantages",
        advantages,
        _rewards,
        (
            Mistake("standard deviation with G below the sum", "G answers are a sample: what stands below the sum?",
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
)  # fmt: skip
"""The chapter's exercises; the first is its bug zoo."""
