"""How an author works backwards: from a pair of numbers forwards, from the target backwards, until the two meet.

    Make 64 from 57 10 3.
    <think>57 3:+60-54*171/19                       a pair, and what it makes
    10:+74-54!57-3+10=54+10=64 yes</think>          10 set aside: the pair must make 74 (which is 64+10) or 54 (64-10)

A need that the pair makes is worked out ("!") before it is believed. With four numbers, two are set aside one after
the other, ``51-34:-31+37`` (85-51=34, then 3 is set aside), or combined, ``51+3=54:-31``. A need bears the sign of the
operation that led to it; ``~43`` is 128-85 with 128 set aside, and ``|`` the same for division. Needs below or above
all that the pair makes are not written down. ``>200``: from here on, what takes numbers above 200; ``<200``: again.

Every pair has its turn in each round, also where nothing follows: a model that sees some left out leaves out others.

With five numbers one is set aside first, ``85-31;`` (the other four must make 54), and then another: first those that
leave the least to be made, because small numbers are made more often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

from minidsk.tasks.expression import Steps, whole, write_chain
from minidsk.tasks.solver import needs

SMALL, LARGEST = 200, 9999  # an author first goes through small numbers alone, and never beyond the largest
UNDONE = {"+": "-", "-": "+", "*": "/", "/": "*", "~-": "~", "~/": "|"}
"""How a need is written: by the operation that undoes the one that the part will take."""


class Idea(NamedTuple):
    """What an author writes: a piece of text, and the steps that it would mean if the pair made what is needed."""

    text: str
    needed: int | None = None
    steps: Sequence[tuple[int, int, str]] = ()  # those that follow the pair's own
    aside: int | None = None  # the place of a number that stands by until the others are one
    last: Sequence[tuple[int, int, str]] = ()  # the step that it takes then

    def after(self, pair: Steps) -> Steps:
        """All the steps, if `pair` makes what is needed."""
        steps = [*pair, *self.steps]
        return steps if self.aside is None else [*_beside(steps, self.aside), *self.last]


def search(
    rng: random.Random, numbers: Sequence[int], target: int, ops: str, verdicts: tuple[str, str], slips: float = 0.05,
    haste: float = 0.2, patience: int = 1000,
) -> tuple[str, str | None]:  # fmt: skip
    """What such an author writes, and the answer found; None where patience, in characters, ran out.

    verdicts: the words for wrong and right. slips: how often the author overlooks that the pair makes what is needed.
    haste: how often a miss by 1 or 2 is taken for a hit, and turns out wrong when it is worked out.
    """
    said = ""
    while True:
        said += f"<{SMALL}\n" if said else ""
        for idea, made in ideas(rng, numbers, target, ops):
            said += idea.text
            if len(said) > patience:
                return said, None
            if idea.needed is None:
                continue
            found = made.get(idea.needed)
            near = [value for value in made if 0 < abs(value - idea.needed) <= 2]
            if found is not None:
                found = None if rng.random() < slips else found
            elif near and all(op in "+*" for *_, op in (*idea.steps, *idea.last)) and rng.random() < haste:
                found = made[near[0]]
            if found is not None:
                chain = write_chain(numbers, idea.after(found))
                right = chain[-1] == str(target)
                said += "!" + "=".join(chain) + verdicts[right]
                if right:
                    return said, chain[0]


def notes(rng: random.Random, numbers: Sequence[int], target: int, ops: str) -> str:
    """What such an author writes, pair by pair, before the first that leads to the target; all where none does."""
    said, block, pair = "", "", None
    for idea, made in ideas(rng, numbers, target, ops):
        if made is not pair:
            said, block, pair = said + block, "", made
        if idea.needed in made:
            return said
        block += idea.text
    return said + block


def ideas(rng: random.Random, numbers: Sequence[int], target: int, ops: str) -> Iterator[tuple[Idea, dict[int, Steps]]]:
    """Everything that an author goes through, pair by pair from a random beginning, with what the pair makes: once
    with small numbers, then what takes larger ones; of five numbers, with small ones alone."""
    if len(numbers) > 4:
        yield from _with_one_aside(rng, numbers, target, ops)
        return
    pairs = [sorted(pair, key=lambda k: -numbers[k]) for pair in combinations(range(len(numbers)), 2)]
    begin = rng.randrange(len(pairs))
    for large in (False, True):
        if large:
            yield Idea(f">{SMALL}\n"), {}
        for i, j in (pairs + pairs)[begin : begin + len(pairs)]:
            results = _forward(numbers[i], numbers[j], ops, LARGEST if large else SMALL)
            made = {value: [(i, j - (j > i), op)] for op, value in reversed(results)}
            rest = [numbers[k] for k in range(len(numbers)) if k not in (i, j)]
            within = range(min(made, default=0), max(made, default=-1) + 1)
            lines = [line for line in _lines(rest, target, ops, within, large, twice=0 in (i, j)) if line]
            yield Idea(f"{numbers[i]} {numbers[j]}:{''.join(f'{op}{value}' for op, value in results)}\n"), made
            yield from ((idea, made) for line in lines for idea in line)


def _with_one_aside(
    rng: random.Random, numbers: Sequence[int], target: int, ops: str
) -> Iterator[tuple[Idea, dict[int, Steps]]]:
    """What an author goes through with each number set aside in turn, in each way that leaves a small target."""
    ways = [(x, op, k) for k in range(len(numbers)) for op, x in _needs(target, numbers[k], ops) if x <= SMALL]
    for x, op, k in sorted(ways):
        yield Idea(f"{numbers[k]}{UNDONE[op]}{x};\n"), {}
        for idea, made in ideas(rng, [*numbers[:k], *numbers[k + 1 :]], x, ops):
            if idea.text.startswith(">"):  # from here on with large numbers
                break
            yield idea._replace(aside=k, last=[_step(0, 1, op)]), made


def _beside(steps: Steps, k: int) -> Steps:
    """The same steps where one more number stands by, at place k before the first; after the last it is at place 0."""
    moved: Steps = []
    for i, j, op in steps:
        i += i >= k
        k -= i < k
        j += j >= k
        k -= j < k
        moved.append((i, j, op))
    return moved


def _lines(
    rest: Sequence[int], target: int, ops: str, within: range, large: bool, twice: bool
) -> Iterator[list[Idea]]:
    """Line by line, what the pair would have to make, for each way to use the other numbers, which stand before it.

    Only needs `within` what the pair makes, from the smallest to the largest, are worth writing down. twice: whether
    two others are also combined with each other, which would otherwise be tried again when they are the pair.
    """

    def line(head: str, target: int, part: int, steps: Callable[[str], Steps]) -> list[Idea]:
        far = max(target, part) > SMALL
        found = [(op, x) for op, x in _needs(target, part, ops) if x in within]
        found = [(op, x) for op, x in found if (far or x > SMALL) == large]
        if (far and not large) or (large and not found):
            return []
        return [Idea(head), *(Idea(f"{UNDONE[op]}{x}", x, steps(op)) for op, x in found), Idea("\n")]

    if not rest:
        yield [Idea("", target, [])]
    elif len(rest) == 1:
        yield line(f"{rest[0]}:", target, rest[0], lambda op: [_step(0, 1, op)])
    else:
        for inner in (1, 0)[: 1 + (rest[0] != rest[1])]:  # the place of what joins the pair; the other is set aside
            outer, part = rest[1 - inner], rest[inner]
            for last, x in _needs(target, outer, ops):
                finish = _step(0, 1, last)
                yield line(f"{outer}{UNDONE[last]}{x}:", x, part, partial(_then, inner, finish))
        i, j = (0, 1) if rest[0] >= rest[1] else (1, 0)
        for own, other in _forward(rest[i], rest[j], ops, LARGEST if large else SMALL) if twice else ():
            join = (i, j - (j > i), own)
            yield line(f"{rest[i]}{own}{rest[j]}={other}:", target, other, partial(_joined, join))


def _then(inner: int, finish: tuple[int, int, str], op: str) -> Steps:
    return [_step(inner, 2, op), finish]


def _joined(join: tuple[int, int, str], op: str) -> Steps:
    return [join, _step(1, 0, op)]


def _forward(a: int, b: int, ops: str, largest: int) -> list[tuple[str, int]]:
    """What a and the smaller b make; dividing by 1 is left out, and what is too large."""
    made = [(op, whole(a, b, op)) for op in ops if not (b == 1 and op == "/")]
    return [(op, value) for op, value in made if value is not None and value <= largest]


def _needs(target: int, part: int, ops: str) -> list[tuple[str, int]]:
    """`solver.needs`, without dividing by 1, and without what is too large."""
    return [(op, x) for op, x in needs(target, part, ops) if x <= LARGEST and not (part == 1 and op == "/")]


def _step(part: int, pair: int, op: str) -> tuple[int, int, str]:
    """The step "pair op part", or "part op pair" after a "~", where these are the places of the two."""
    i, j = (part, pair) if op[0] == "~" else (pair, part)
    return i, j - (j > i), op[-1]
