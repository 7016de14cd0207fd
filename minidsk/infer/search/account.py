"""What a search may look at, and what it took: the same for votes, forced budgets and trees.

Who searches when nobody checks, sees a `Question`: what is asked, and how an answer is read. Only a `Judge` compares
replies, and only the judge called `verify` takes problems with a verifier; a type checker holds functions to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from minidsk.tasks.base import Problem


class Question(Protocol):
    """A problem without its verifier. Every `Problem` is one, and so is `Blind`."""

    @property
    def prompt(self) -> str:
        """What the model reads."""

    def answer(self, text: str) -> str | None:
        """The answer that is read from a reply; None where it gives none."""


@dataclass(frozen=True)
class Blind:
    """A problem that a search cannot check by mistake: it has no `score`, and the problem inside is private."""

    _problem: Problem

    @property
    def prompt(self) -> str:
        """What the model reads."""
        return self._problem.prompt

    def answer(self, text: str) -> str | None:
        """See `Question.answer`."""
        return self._problem.answer(text)


class Judged(NamedTuple):
    """What each reply is worth, and the operations that the judge took."""

    values: list[float]
    flops: float


Asked = TypeVar("Asked", contravariant=True)
Q = TypeVar("Q", bound=Question)


class Judge(Protocol[Asked]):
    """Says what replies are worth, finished or not: the verifier, or a model that learned to."""

    def __call__(self, questions: Sequence[Asked], replies: Sequence[str]) -> Judged:
        """The worth of N replies to N questions."""


def verify(questions: Sequence[Problem], replies: Sequence[str]) -> Judged:
    """The verifier as a judge, which costs nothing: for training, and to see how far a search could go at most."""
    return Judged([problem.score(reply) for problem, reply in zip(questions, replies, strict=True)], 0.0)


@dataclass(frozen=True)
class Found:
    """The outcome of a search: for each question one reply, "" where there is none.

    tokens: drawn or forced for each question, ends included; samples: how many replies were written, to their end or
    to the limit; flops: operations of all, as `Policy.flops` counts them, the judge's too.
    """

    replies: tuple[str, ...]
    tokens: tuple[int, ...]
    samples: tuple[int, ...]
    flops: float
