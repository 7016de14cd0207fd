"""Many replies to each problem, and what came of each: what pass@k and everything else is counted from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm.auto import tqdm

from minidsk.tasks.base import Problem

AT_ONCE = 1024  # replies that are sampled together


@dataclass(frozen=True)
class Outcome:
    """One reply: its text, its score in [0, 1], its length in tokens, and whether it ended before the limit."""

    text: str
    score: float
    tokens: int
    ended: bool

    @property
    def right(self) -> bool:
        """Whether the verifier accepts it in full."""
        return self.score == 1


def outcomes(
    policy: Any,
    problems: Sequence[Problem],
    samples: int,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> list[list[Outcome]]:
    """`samples` replies of a policy (see `minidsk.rl.policy`) to each problem, judged."""
    found: list[list[Outcome]] = []
    together = max(AT_ONCE // samples, 1)
    with tqdm(total=len(problems), desc="eval", unit="problem", disable=not progress) as bar:
        for start in range(0, len(problems), together):
            posed = problems[start : start + together]
            replies = policy.sample([p.prompt for p in posed], samples, max_new_tokens, temperature, generator)
            rows = zip(replies.texts, replies.lengths.tolist(), replies.ended.tolist(), strict=True)
            for problem in posed:
                own = [next(rows) for _ in range(samples)]
                found.append([Outcome(text, problem.score(text), tokens, ended) for text, tokens, ended in own])
            bar.update(len(posed))
    return found
