"""One worksheet of the tiny web: a problem, what its author tried, and the answer that was handed in."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from minidsk.data.backwards import search
from minidsk.tasks.base import stream
from minidsk.tasks.countdown import PROMPTS
from minidsk.tasks.draw import combine, draw_problem, draw_uniform, split_of
from minidsk.tasks.expression import Steps, whole, write_chain

if TYPE_CHECKING:
    from minidsk.data.corpus import TinyWebConfig

VERDICTS = {"en": (" no", " yes"), "zh": (" 不对", " 对了")}


def worksheet(rng: random.Random, config: TinyWebConfig) -> str:
    """One worksheet of a training problem: the task, the author's attempts, the answer that was handed in."""
    numbers, target = draw_training(rng, config)
    posed = "zh" if rng.random() < config.chinese else "en"
    mixing = rng.random() < config.mixed
    said, answer = "", None
    if config.backwards and rng.random() < config.backwards:
        verdicts = VERDICTS[rng.choice(("en", "zh")) if mixing else posed]
        said, answer = search(rng, numbers, target, config.ops, verdicts, patience=config.length)
        said += "" if answer or said.endswith("\n") else "\n"
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


def draw_training(rng: random.Random, config: TinyWebConfig) -> tuple[tuple[int, ...], int]:
    """Numbers and target of a problem of the training split; one of the pool, where the web has one."""
    if config.pool:
        rng = stream("pool", *config.problem.values(), int(rng.random() * config.pool))
    while True:
        if config.draw == "uniform":
            numbers, target = draw_uniform(
                rng, config.numbers, config.high, config.target_high, config.ops, config.targets
            )
        else:
            numbers, target, _ = draw_problem(rng, config.numbers, config.high, config.target_high, config.ops)
        if split_of(numbers, target) == "train":
            return numbers, target


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
