"""Evaluation problems are not learned from: pages that hold one are left out (DeepSeekMath, section 2.1)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

LONG, SHORT = 10, 3  # grams: of what may not be shared with a problem, and of the shortest problem that counts
_GRAM = re.compile(r"\w+|[^\w\s]")


def grams(text: str) -> list[str]:
    """Words, numbers and single signs, in lower case."""
    return _GRAM.findall(text.casefold())


class Decontamination:
    """Knows the problems of an evaluation, and which texts hold one.

    A text holds a problem when 10 grams in a row are also in the problem. A problem of fewer than 10 grams has to be in
    the text as a whole, and one of fewer than 3 is not looked for: it would be found everywhere.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.known: dict[int, set[int]] = defaultdict(set)  # hashes of grams in a row, by how many they are
        for problem in problems:
            found = grams(problem)
            size = min(len(found), LONG)
            if size >= SHORT:
                self.known[size].update(_runs(found, size))

    def holds_problem(self, text: str) -> bool:
        """Whether a problem is in the text."""
        if not self.known:
            return False
        found = grams(text)
        return any(not known.isdisjoint(_runs(found, size)) for size, known in self.known.items())


def _runs(found: list[str], size: int) -> Iterable[int]:
    return (hash(run) for run in zip(*(found[i:] for i in range(size)), strict=False))
