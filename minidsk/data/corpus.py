"""The tiny web: what a base model reads before anybody rewards it.

Most pages are Countdown worksheets by many hands. Most hands guess once or twice, see that it is wrong, and hand it
in anyway; a few go through everything in turn until the check passes, or work backwards from the target. Some write English, some Chinese, some both.
Between the worksheets stand sums, tables, letters, lists and puzzles. No page holds a problem that is held out.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from minidsk.data.backwards import search
from minidsk.settings import require, within
from minidsk.tasks.base import stream
from minidsk.tasks.countdown import PROMPTS, Countdown, combine, draw_problem, draw_uniform, split_of
from minidsk.tasks.expression import Steps, whole, write_chain

VERDICTS = {"en": (" no", " yes"), "zh": (" 不对", " 对了")}
_NAMES = {"en": ("Ada", "Ben", "Mei", "Tom", "Lin"), "zh": ("小美", "小明", "老王", "阿丽", "小林")}


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
    # Share of worksheets whose author works backwards; above 0, all others guess, and nobody is `persistent`.
    backwards: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        within(self, 0, 1, "worksheets", "persistent", "chinese", "mixed", "backwards")
        within(self, 1, math.inf, "patience")
        within(self, 2, math.inf, "high")
        for share in self.guesses:
            require(self, "guesses", math.isfinite(share) and share >= 0, "frequencies, each 0 or more")
        require(self, "guesses", 0 < sum(self.guesses) < math.inf, "frequencies, at least one of them above 0")
        # The persistent go through all that can be made of a problem's numbers, which for six would take seconds.
        require(self, "numbers", all(count <= 5 for count in self.numbers), "counts from 2 to 5")
        require(self, "backwards", not self.backwards or set(self.numbers) <= {2, 3, 4}, "0 with more than 4 numbers")
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
        return (self,) if later == ("combine", "any", 0.0) else (self, *later)


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
        others = [_sums, _sums, _table, _letter, _list, _puzzle]
        others += [_marks] * 2 * self.config.target_beside + [_pairs] * 6 * (self.config.backwards > 0)
        return rng.choice(others)(rng, self.config)

    def pages(self, start: int, stop: int) -> list[str]:
        """Pages start to stop - 1."""
        return [self[i] for i in range(start, stop)]


def worksheet(rng: random.Random, config: TinyWebConfig) -> str:
    """One worksheet of a training problem: the task, the author's attempts, the answer that was handed in."""
    while True:
        if config.draw == "uniform":
            numbers, target = draw_uniform(
                rng, config.numbers, config.high, config.target_high, config.ops, config.targets
            )
        else:
            numbers, target, _ = draw_problem(rng, config.numbers, config.high, config.target_high, config.ops)
        if split_of(numbers, target) == "train":
            break
    posed = "zh" if rng.random() < config.chinese else "en"
    mixing = rng.random() < config.mixed
    said, answer = "", None
    if config.backwards and rng.random() < config.backwards:
        verdicts = VERDICTS[rng.choice(("en", "zh")) if mixing else posed]
        said, answer = search(rng, numbers, target, config.ops, verdicts)
        said += "" if answer else "\n"
    lines: list[str] = []
    for steps in attempts(rng, numbers, config) if answer is None else ():
        chain = write_chain(numbers, steps)
        right = chain[-1] == str(target)
        spoken = rng.choice(("en", "zh")) if mixing else posed
        wanted = f"?{target}" if config.target_beside else ""
        lines.append("=".join(chain) + wanted + VERDICTS[spoken][right])
        if right:
            break
    prompt = PROMPTS[posed].format(numbers=" ".join(map(str, numbers)), target=target)
    answer = answer or lines[-1].partition("=")[0]
    return f"{prompt}<think>{said}{chr(10).join(lines)}</think><answer>{answer}</answer>"


def attempts(rng: random.Random, numbers: tuple[int, ...], config: TinyWebConfig) -> Iterator[Steps]:
    """What one author tries, in order: a few guesses at random, or everything in turn from a random beginning."""
    if config.backwards:
        for _ in range(_guesses(rng, config)):
            made = None
            while made is None or made[0] > 999:  # a guess is wild, but not absurd
                made = combine(rng, numbers, config.ops)
            yield made[1]
        return
    ways = list(all_ways(numbers, config.ops))
    if rng.random() < config.persistent:
        begin = rng.randrange(len(ways))
        yield from (ways + ways)[begin : begin + min(len(ways), config.patience)]
    else:
        yield from rng.sample(ways, min(_guesses(rng, config), len(ways)))


def _guesses(rng: random.Random, config: TinyWebConfig) -> int:
    return 1 + rng.choices(range(len(config.guesses)), config.guesses)[0]


def all_ways(numbers: tuple[int, ...], ops: str, fresh: bool = True) -> Iterator[Steps]:
    """Every way to combine the numbers through positive integers: pair by pair as they stand, operator by operator.

    The larger of two numbers is subtracted from or divided; what was just combined is written first.
    """
    if len(numbers) == 1:
        yield []
        return
    for left, right in itertools.combinations(range(len(numbers)), 2):
        a, b = (left, right) if fresh or right < len(numbers) - 1 else (right, left)
        for op in ops:
            i, j = (a, b) if op in "+*" or numbers[a] >= numbers[b] else (b, a)
            value = whole(numbers[i], numbers[j], op)
            if value is not None:
                rest = tuple(n for k, n in enumerate(numbers) if k not in (i, j))
                for later in all_ways((*rest, value), ops, fresh=False):
                    yield [(i, j - (j > i), op), *later]


def _sums(rng: random.Random, config: TinyWebConfig) -> str:
    """Sums of two numbers, each of them right."""
    lines: list[str] = []
    while len(lines) < 6:
        numbers = (rng.randint(1, 2 * config.high), rng.randint(1, config.high))
        made = combine(rng, numbers, config.ops)
        if made is not None:
            lines.append("=".join(write_chain(numbers, made[1])))
    return "\n".join(lines)


def _pairs(rng: random.Random, config: TinyWebConfig) -> str:
    """Pairs of numbers, and all that each makes, in the notation of those who work backwards."""
    lines: list[str] = []
    while len(lines) < 8:
        b = rng.randint(2, config.high)
        a = b * rng.randint(1, max(config.high // b, 1)) if rng.random() < 0.3 else rng.randint(2, config.high)
        a, b = max(a, b), min(a, b)
        lines.append(f"{a} {b}:" + "".join(f"{op}{value}" for op in config.ops if (value := whole(a, b, op))))
    return "\n".join(lines)


def _marks(rng: random.Random, config: TinyWebConfig) -> str:
    """A teacher's list: what came out, what was wanted, and whether they are the same."""
    words = VERDICTS["zh" if rng.random() < config.chinese else "en"]
    lines = []
    for _ in range(8):
        got = rng.randint(1, 2 * config.high)
        wanted = got if rng.random() < 0.4 else rng.randint(1, config.target_high or config.high)
        lines.append(f"{got}?{wanted}{words[got == wanted]}")
    return "\n".join(lines)


def _table(rng: random.Random, config: TinyWebConfig) -> str:
    """One number's row of a table."""
    n, op = rng.randint(1, config.high), rng.choice([op for op in config.ops if op in "+*"] or ["+"])
    return "\n".join(f"{n}{op}{m}={n + m if op == '+' else n * m}" for m in range(1, 8))


def _letter(rng: random.Random, config: TinyWebConfig) -> str:
    """A short letter about how many of something."""
    n = rng.randint(2, config.high)
    if rng.random() < config.chinese:
        a, b = rng.sample(_NAMES["zh"], 2)
        return f"{a}你好：\n我看了 {n} 个题目，算对了 {rng.randint(1, n)} 个。你再来看看。\n{b}"
    a, b = rng.sample(_NAMES["en"], 2)
    thing = rng.choice(("apples", "books", "letters", "cards", "stamps"))
    return f"Dear {a},\nthank you for the {n} {thing}. I gave {rng.randint(1, n)} away.\nYours, {b}"


def _list(rng: random.Random, config: TinyWebConfig) -> str:
    """Numbers, and the same numbers in order."""
    numbers = [rng.randint(1, config.high) for _ in range(5)]
    title = "从小到大" if rng.random() < config.chinese else "In order"
    return f"{' '.join(map(str, numbers))}\n{title}: {' '.join(map(str, sorted(numbers)))}"


def _puzzle(rng: random.Random, config: TinyWebConfig) -> str:
    """What comes next."""
    start, step = rng.randint(1, config.high), rng.randint(1, 5)
    shown = " ".join(str(start + step * k) for k in range(4))
    question = "再来是多少？" if rng.random() < config.chinese else "What comes next?"
    return f"{shown}\n{question} {start + step * 4}"
