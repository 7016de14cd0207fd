"""What stands between the worksheets of the tiny web: sums, tables, letters, lists and puzzles."""

from __future__ import annotations

import random
from itertools import combinations
from typing import TYPE_CHECKING

from minidsk.data.backwards import notes
from minidsk.data.worksheet import VERDICTS, draw_training
from minidsk.tasks.draw import combine, draw_problem, kind_of, split_of
from minidsk.tasks.expression import whole, write_chain
from minidsk.tasks.pages import IN_ORDER, NEXT, draw_list, draw_row, spaced

if TYPE_CHECKING:
    from minidsk.data.corpus import TinyWebConfig

_NAMES = {"en": ("Ada", "Ben", "Mei", "Tom", "Lin"), "zh": ("小美", "小明", "老王", "阿丽", "小林")}


def sums_page(rng: random.Random, config: TinyWebConfig) -> str:
    """Sums of two numbers, each of them right."""
    lines: list[str] = []
    while len(lines) < 6:
        numbers = (rng.randint(1, 2 * config.high), rng.randint(1, config.high))
        made = combine(rng, numbers, config.ops)
        if made is not None:
            lines.append("=".join(write_chain(numbers, made[1])))
    return "\n".join(lines)


def chains_page(rng: random.Random, config: TinyWebConfig) -> str:
    """Sums of as many numbers as a problem has, worked out step by step as a check is, each of them right."""
    ops = config.ops + "".join(op for op in config.ops if op in "*/")  # of which fewer come out whole
    lines: list[str] = []
    while len(lines) < 6:
        numbers, target, steps = draw_problem(rng, config.numbers, config.high, config.target_high, ops)
        if _may_stand(numbers, target, config):
            lines.append("=".join(write_chain(numbers, steps)))
    return "\n".join(lines)


def pairs_page(rng: random.Random, config: TinyWebConfig) -> str:
    """Some numbers, and all that each pair of them makes, as those who work backwards write it, in their order."""
    numbers = [rng.randint(2, config.high) for _ in range(rng.choice(config.numbers))]
    if rng.random() < 0.5:  # so that division is seen too
        numbers[rng.randrange(len(numbers))] = 2 * numbers[0] if 2 * numbers[0] <= config.high else numbers[0]
    pairs = list(combinations(numbers, 2))
    begin = rng.randrange(len(pairs))
    lines = [" ".join(map(str, numbers))]
    for pair in (pairs + pairs)[begin : begin + len(pairs)]:
        a, b = max(pair), min(pair)
        lines.append(f"{a} {b}:" + "".join(f"{op}{value}" for op in config.ops if (value := whole(a, b, op))))
    return "\n".join(lines)


def notes_page(rng: random.Random, config: TinyWebConfig) -> str:
    """The notes of one who works backwards, and found nothing yet."""
    while True:
        if config.pool:
            numbers, target = draw_training(rng, config)
        else:
            numbers = tuple(rng.randint(1, config.high) for _ in range(rng.choice(config.numbers)))
            target = rng.randint(10, max(config.target_high or config.high, 10))
        said = notes(rng, numbers, target, config.ops)
        if said and _may_stand(numbers, target, config):
            return f"{target}? {' '.join(map(str, numbers))}\n{said.rstrip()}"


def marks_page(rng: random.Random, config: TinyWebConfig) -> str:
    """A teacher's list: what came out, what was wanted, and whether they are the same."""
    words = VERDICTS[_language(rng, config)]
    lines = []
    for _ in range(8):
        got = rng.randint(1, 2 * config.high)
        wanted = got if rng.random() < 0.4 else rng.randint(1, config.target_high or config.high)
        lines.append(f"{got}?{wanted}{words[got == wanted]}")
    return "\n".join(lines)


def table_page(rng: random.Random, config: TinyWebConfig) -> str:
    """One number's row of a table."""
    n, op = rng.randint(1, config.high), rng.choice([op for op in config.ops if op in "+*"] or ["+"])
    return "\n".join(f"{n}{op}{m}={n + m if op == '+' else n * m}" for m in range(1, 8))


def letter_page(rng: random.Random, config: TinyWebConfig) -> str:
    """A short letter about how many of something."""
    n = rng.randint(2, config.high)
    if rng.random() < config.chinese:
        a, b = rng.sample(_NAMES["zh"], 2)
        return f"{a}你好：\n我看了 {n} 个题目，算对了 {rng.randint(1, n)} 个。你再来看看。\n{b}"
    a, b = rng.sample(_NAMES["en"], 2)
    thing = rng.choice(("apples", "books", "letters", "cards", "stamps"))
    return f"Dear {a},\nthank you for the {n} {thing}. I gave {rng.randint(1, n)} away.\nYours, {b}"


def list_page(rng: random.Random, config: TinyWebConfig) -> str:
    """Numbers, and the same numbers in order."""
    numbers = draw_list(rng, config.high)
    return f"{spaced(numbers)}\n{IN_ORDER[_language(rng, config)]} {spaced(sorted(numbers))}"


def puzzle_page(rng: random.Random, config: TinyWebConfig) -> str:
    """What comes next."""
    *shown, wanted = draw_row(rng, config.high)
    return f"{spaced(shown)}\n{NEXT[_language(rng, config)]} {wanted}"


def _may_stand(numbers: tuple[int, ...], target: int, config: TinyWebConfig) -> bool:
    """Whether numbers and target are none that a test may ask, since the page shows both."""
    return split_of(numbers, target) == "train" and config.targets in ("any", kind_of(target))


def _language(rng: random.Random, config: TinyWebConfig) -> str:
    return "zh" if rng.random() < config.chinese else "en"
