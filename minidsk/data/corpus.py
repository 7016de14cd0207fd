"""The tiny web: what a base model reads before anybody rewards it.

Most pages are Countdown worksheets by many hands. Most hands guess once or twice, see that it is wrong, and hand it
in anyway; a few go through everything in turn until the check passes, or work backwards from the target (see
`backwards`). Some write English, some Chinese, some both.
Between the worksheets stand sums, tables, letters, lists and puzzles. No page holds a problem that is held out.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from minidsk.data import pages
from minidsk.data.worksheet import worksheet
from minidsk.settings import require, within
from minidsk.tasks.base import stream
from minidsk.tasks.countdown import Countdown


@dataclass(frozen=True)
class TinyWebConfig:
    """The tiny web: worksheets with problems as in `Countdown`, and other pages.

    Raises `ValueError` for a field that does not fit, and where no problem does.
    """

    numbers: tuple[int, ...] = (3,)  # how many numbers a problem has, 2 to 5; several counts are drawn from
    high: int = 12  # the largest number
    target_high: int | None = 20  # the largest target; None: as large as the largest number
    ops: str = "+-"  # some of + - * / as one word
    worksheets: float = 0.8  # share of pages that are worksheets
    persistent: float = 0.3  # share of worksheets whose author keeps trying until the check passes
    guesses: tuple[float, ...] = (0.9, 0.1)  # how often the others guess once, twice, ..., as relative frequencies
    patience: int = 12  # attempts after which even the persistent stop
    # Authors note what is wanted beside what they got, "=19?12 no": a tiny model is slow to learn to compare two
    # numbers that stand far apart.
    target_beside: bool = False
    chinese: float = 0.3  # share of worksheets that are posed in Chinese
    mixed: float = 0.15  # share of worksheets whose author mixes both languages
    # Fields that came later say nothing in the name of a web that does without them, so that its pages stay the same.
    draw: str = field(default="combine", repr=False)  # how problems are made: combine or uniform, see Countdown
    targets: str = field(default="any", repr=False)  # which targets a uniform draw has: any, seen or unseen
    # Share of worksheets whose author works backwards; above 0, all others guess.
    backwards: float = field(default=0.0, repr=False)
    # Share of the other pages that are sums of as many numbers as a problem has, worked out step by step.
    chains: float = field(default=0.0, repr=False)
    pool: int = field(default=0, repr=False)  # how many problems worksheets and notes share; 0: without limit
    length: int = field(default=1000, repr=False)  # characters after which those who work backwards stop

    def __post_init__(self) -> None:
        within(self, 0, 1, "worksheets", "persistent", "chinese", "mixed", "backwards", "chains")
        within(self, 1, math.inf, "patience", "length")
        within(self, 0, math.inf, "pool")
        within(self, 2, math.inf, "high")
        for share in self.guesses:
            require(self, "guesses", math.isfinite(share) and share >= 0, "frequencies, each 0 or more")
        require(self, "guesses", 0 < sum(self.guesses) < math.inf, "frequencies, at least one of them above 0")
        # The persistent go through all that can be made of a problem's numbers, which for six would take seconds.
        require(self, "numbers", all(count <= 5 for count in self.numbers), "counts from 2 to 5")
        Countdown(**self.problem)

    @property
    def problem(self) -> dict[str, Any]:
        """What the problems on the worksheets are like, as settings of `Countdown`."""
        names = ("numbers", "high", "ops", "target_high", "draw", "targets")
        return {name: getattr(self, name) for name in names}

    @property
    def key(self) -> tuple[object, ...]:
        """What the pages depend on."""
        later = (self.draw, self.targets, self.backwards)
        named = (self,) if later == ("combine", "any", 0.0) else (self, *later)
        given = ((name, getattr(self, name)) for name in ("chains", "pool", "length"))
        return (*named, *itertools.chain(*(item for item in given if item[1] != getattr(TinyWebConfig, item[0]))))


class Corpus(Protocol):
    """Pages to train on: `corpus[i]` is page i, for any i >= 0 and always the same.

    fingerprint: hexadecimal digits that two corpora share only if their pages are the same; a run remembers it.
    """

    @property
    def fingerprint(self) -> str:
        """See the class."""

    def __getitem__(self, i: int) -> str:
        """Page number i, without `<bos>` and `<eos>`."""


class TinyWeb:
    """The tiny web, a `Corpus` without end: `web[i]` is a pure function of the configuration, the seed and i."""

    def __init__(self, config: TinyWebConfig | None = None, seed: int = 0) -> None:
        self.config = config or TinyWebConfig()
        self.seed = seed

    @property
    def fingerprint(self) -> str:
        """Of the configuration and the seed."""
        return hashlib.blake2b(repr(("tiny web", *self.config.key, self.seed)).encode(), digest_size=8).hexdigest()

    def __getitem__(self, i: int) -> str:
        """Page number i, without `<bos>` and `<eos>`."""
        rng = stream("tiny web", self.seed, i, *self.config.key)
        if rng.random() < self.config.worksheets:
            return worksheet(rng, self.config)
        if self.config.chains and rng.random() < self.config.chains:
            return pages.chains_page(rng, self.config)
        others = [pages.sums_page, pages.sums_page, pages.table_page, pages.letter_page, pages.list_page]
        others += [pages.puzzle_page]
        if self.config.target_beside:
            others += [pages.marks_page] * 2
        if self.config.backwards:
            others += [pages.pairs_page] * 3 + [pages.notes_page] * 3
        return rng.choice(others)(rng, self.config)

    def pages(self, start: int, stop: int) -> list[str]:
        """Pages start to stop - 1."""
        return [self[i] for i in range(start, stop)]
