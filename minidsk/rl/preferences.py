"""Preferences: of two replies to one prompt, which is the better one, and who says so.

People's labels are noisy, and lean: to long answers, to confident ones. A simulated annotator does the same, with its
noise and its leanings stated, so that what a reward model makes of them can be compared with the truth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from minidsk.settings import positive
from minidsk.tasks.base import Problem, thought_of

LENGTH_UNIT = 40  # characters of a thought that count as one unit of length: about two attempts


@dataclass(frozen=True)
class Preference:
    """One comparison: of two replies to `prompt`, the one that was preferred and the other one."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Ranking:
    """One label: replies to `prompt`, the best first. Raises `ValueError` where there are fewer than two."""

    prompt: str
    replies: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.replies) < 2:
            raise ValueError(f"replies: {len(self.replies)} do not fit; a ranking needs 2 or more to compare")

    def pairs(self) -> list[Preference]:
        """All K (K - 1) / 2 comparisons that a ranking of K replies holds."""
        return [Preference(self.prompt, a, b) for a, b in itertools.combinations(self.replies, 2)]


@dataclass(frozen=True)
class Annotator:
    """A judge with known leanings, who prefers a reply to another with probability ``sigmoid(difference / noise)``.

    The difference is that of what each reply is worth to the judge, the sum of: `right`, where the answer is right
    (what the judge is asked for); `claims`, where the thought ends by claiming success, true or not; `length`, for
    every 40 characters of the thought. Raises `ValueError` where noise is not above 0.
    """

    right: float = 2.0
    claims: float = 0.0
    length: float = 0.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "noise")

    def worth(self, problem: Problem, reply: str) -> float:
        """What a reply is worth to this judge."""
        length = len(thought_of(reply)) / LENGTH_UNIT
        return self.right * problem.score(reply) + self.claims * claims_success(reply) + self.length * length

    def probability(self, problem: Problem, a: str, b: str) -> float:
        """The probability that this judge prefers reply `a` to reply `b` (Bradley and Terry, 1952)."""
        difference = (self.worth(problem, a) - self.worth(problem, b)) / self.noise
        return 0.5 * (1 + math.tanh(difference / 2))  # the sigmoid, which does not overflow in this form

    def rank(self, problem: Problem, replies: Sequence[str], generator: torch.Generator) -> Ranking | None:
        """Replies in the order in which this judge puts them today; equal ones are seen once, None if one is left.

        Each worth, divided by the noise, gets Gumbel noise of its own, and the largest comes first (Luce, 1959): two
        replies then stand in either order with just `probability`.
        """
        seen = list(dict.fromkeys(replies))
        if len(seen) < 2:
            return None
        worth = torch.tensor([self.worth(problem, reply) / self.noise for reply in seen])
        # The negative logarithm of an exponential variable is Gumbel noise.
        felt = worth - torch.empty(len(seen)).exponential_(generator=generator).log()
        return Ranking(problem.prompt, tuple(seen[i] for i in felt.argsort(descending=True).tolist()))


def claims_success(reply: str) -> bool:
    """Whether the thought's last verdict is *yes*, in either language, be it true or not."""
    thought, closed, _ = reply.partition("</think>")
    return bool(closed) and thought.rstrip().endswith(("yes", "对了"))
