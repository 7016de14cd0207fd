"""Pages that ask for no thought and can still be checked: a list to put in order, a row of numbers to continue.

The tiny web has such pages between its worksheets (see `data.pages`). They are not held out, because there are few
different ones: what they measure is whether a model still does what its base did.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from minidsk.tasks.base import SPLITS, Problem, Task, register, stream

IN_ORDER = {"en": "In order:", "zh": "从小到大:"}
NEXT = {"en": "What comes next?", "zh": "再来是多少？"}


@dataclass(frozen=True)
class PageProblem(Problem):
    """The first line of a page. `endings`: what it may go on with, in one language or the other."""

    endings: frozenset[str]

    def score(self, text: str) -> float:
        """1 for one of the endings, with nothing but space around it, else 0."""
        return float(text.strip() in self.endings)

    def answer(self, text: str) -> str | None:
        """The reply itself."""
        return text.strip()

    def attempts(self, text: str) -> list[str]:
        """None: such a page tries nothing."""
        return []

    def well_formed(self, text: str) -> bool:
        """Whether the reply is one line without any tag, be it right or wrong."""
        return "\n" not in text.strip() and "<" not in text


def draw_list(rng: random.Random, high: int) -> list[int]:
    """Five numbers up to `high`."""
    return [rng.randint(1, high) for _ in range(5)]


def draw_row(rng: random.Random, high: int) -> list[int]:
    """Five numbers with equal steps of 1 to 5 between them, the first up to `high`."""
    start, step = rng.randint(1, high), rng.randint(1, 5)
    return [start + step * k for k in range(5)]


@register("pages")
class Pages(Task):
    """Lists and rows in turn, with numbers up to `high`; other settings of a web's problems do not matter here.

    Raises ValueError for a split that is none, or a `high` below 1.
    """

    def __init__(self, high: int = 12, split: str = "train", seed: int = 0, **web: object) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}: give one of {', '.join(SPLITS)}")
        if not isinstance(high, int) or high < 1:
            raise ValueError(f"high is {high!r}: give the largest number, 1 or more")
        self.high, self.split, self.seed = high, split, seed

    def __getitem__(self, i: int) -> PageProblem:
        """Problem number i >= 0; a negative i raises IndexError."""
        if i < 0:
            raise IndexError(f"problem {i}: problems are numbered from 0")
        rng = stream("pages", self.split, self.seed, i, self.high)
        if i % 2 == 0:
            shown = draw_list(rng, self.high)
            endings = {f"{title} {spaced(sorted(shown))}" for title in IN_ORDER.values()}
        else:
            *shown, wanted = draw_row(rng, self.high)
            endings = {f"{question} {wanted}" for question in NEXT.values()}
        return PageProblem(spaced(shown) + "\n", frozenset(endings))


def spaced(numbers: list[int]) -> str:
    """The numbers with spaces between them."""
    return " ".join(map(str, numbers))
