"""How well a model solves the problems of a task, and how it goes about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from minidsk.tasks.base import Problem, Task, thought_of


@dataclass(frozen=True)
class Evaluation:
    """The outcome on `problems` problems, one reply each.

    accuracy: the mean score, with its 95 % interval (Wilson) `low` to `high`; well_formed: share of replies with one
    thought and one answer; thought: mean length of the thought in characters; replies: the texts, in order.
    """

    problems: int
    accuracy: float
    low: float
    high: float
    well_formed: float
    thought: float
    replies: tuple[str, ...]

    def row(self) -> dict[str, float | int]:
        """The figures without the texts."""
        return {name: value for name, value in vars(self).items() if name != "replies"}


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share seen in n trials (Wilson, 1927); it stays within 0 and 1."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def answers(
    policy: Any,
    problems: list[Problem],
    max_new_tokens: int = 256,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    batch: int = 1024,
) -> list[str]:
    """One reply of a policy (see `minidsk.rl.policy`) to each problem, `batch` at a time; greedy unless told else."""
    replies: list[str] = []
    for start in range(0, len(problems), batch):
        prompts = [problem.prompt for problem in problems[start : start + batch]]
        replies += policy.sample(prompts, 1, max_new_tokens, temperature, generator).texts
    return replies


def evaluate(
    policy: Any,
    task: Task,
    problems: int = 512,
    max_new_tokens: int = 256,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    batch: int = 1024,
) -> Evaluation:
    """Let a policy answer problems 0 to `problems` - 1 of `task`; greedy unless a temperature is given."""
    if problems < 1:
        raise ValueError(f"problems: {problems} does not fit; it must be 1 or more")
    posed = [task[i] for i in range(problems)]
    replies = answers(policy, posed, max_new_tokens, temperature=temperature, generator=generator, batch=batch)
    accuracy = sum(problem.score(reply) for problem, reply in zip(posed, replies, strict=True)) / problems
    well_formed = sum(problem.well_formed(reply) for problem, reply in zip(posed, replies, strict=True)) / problems
    thought = sum(len(thought_of(reply)) for reply in replies) / problems
    low, high = wilson(accuracy, problems)
    return Evaluation(problems, accuracy, low, high, well_formed, thought, tuple(replies))
