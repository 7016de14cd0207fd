"""Countdown: reach a target from given numbers, each used exactly once, with + - * /.

The problems of TinyZero (Pan et al., 2025) and of Stream of Search (Gandhi et al., 2024). They are made backwards, by
combining numbers at random until one is left, or numbers and target are drawn uniformly and kept where they can be
solved. The verifier has a small parser of its own and computes with exact fractions.
"""

from __future__ import annotations

import hashlib
import operator
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from minidsk.tasks.base import SPLITS, Problem, Task, register, stream, thought_of
from minidsk.tasks.expression import OPS, Steps, evaluate, whole, write_expression
from minidsk.tasks.solver import solvable, solve

PROMPTS = {"en": "Make {target} from {numbers}.\n", "zh": "用 {numbers} 得到 {target}。\n"}

DRAWS = ("combine", "uniform")
TARGETS = ("any", "seen", "unseen")
TARGET_LOW = 10  # the smallest target of a uniform draw, as in TinyZero and Stream of Search
MAX_ATTEMPTS = 100_000  # draws before a setting counts as impossible


@dataclass(frozen=True)
class CountdownProblem(Problem):
    """One problem: the prompt, the numbers in the order shown, the target, and one expression known to be right."""

    numbers: tuple[int, ...]
    target: int
    solution: str
    ops: str = OPS

    def score(self, text: str) -> float:
        """1.0 where the reply's one `<answer>` block holds an expression that solves the problem, else 0.0.

        The expression (see `evaluate`) uses each number exactly once, only this problem's operators, and equals the
        target exactly; values on the way may be negative or fractions. Nothing but the expression belongs in the
        block: `(3+7)*2 = 20` scores 0. See `tasks.base.read_answer` for what counts as the one block.
        """
        answer = self.answer(text)
        if answer is None:
            return 0.0
        try:
            value, literals, used = evaluate(answer)
        except ValueError:
            return 0.0
        # Compared as text, so that 07 is no 7.
        same_numbers = sorted(literals) == sorted(map(str, self.numbers))
        return float(same_numbers and used <= set(self.ops) and value == self.target)

    def verdict(self, text: str) -> str:
        """What is to be said of a reply, in words."""
        answer = self.answer(text)
        if answer is None:
            return "no answer"
        if self.score(text) == 1:
            return f"right: {answer} = {self.target}"
        try:
            value, literals, _ = evaluate(answer)
        except ValueError as error:
            return f"wrong: {answer} is no expression ({error})"
        if sorted(literals) != sorted(map(str, self.numbers)):
            return f"wrong: {answer} does not use each number once"
        return f"wrong: {answer} = {value}, not {self.target}"

    def attempts(self, text: str) -> list[str]:
        """The expressions that the thought tries: what stands before the first "=" of each line."""
        return [line.partition("=")[0] for line in thought_of(text).splitlines()]


def split_of(numbers: Sequence[int], target: int) -> str:
    """The split, "train" (80 %), "valid" or "test" (10 % each), that owns a problem, whatever the order of its numbers.

    It depends on nothing but the sorted numbers and the target, so the splits of all seeds and settings are disjoint,
    and whoever writes training text can ask whether a problem is held out.
    """
    content = f"{','.join(map(str, sorted(numbers)))}={target}"
    bucket = int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "big") % 100
    return "train" if bucket < 80 else "valid" if bucket < 90 else "test"


def kind_of(target: int) -> str:
    """Whether a target is "seen" or "unseen" (one in ten) in training on `targets="seen"`, whatever the numbers."""
    return "unseen" if hashlib.blake2b(f"target {target}".encode(), digest_size=8).digest()[0] % 10 == 0 else "seen"


def combine(rng: random.Random, numbers: Sequence[int], ops: str = OPS) -> tuple[int, Steps] | None:
    """Combine two of the numbers at a time, at random, until one value is left: that value and the steps.

    None where a value on the way is not a positive integer.
    """
    random01 = rng.random  # the one method whose sequence Python promises to keep between versions
    values, steps = list(numbers), []
    while len(values) > 1:
        i, j = int(random01() * len(values)), int(random01() * (len(values) - 1))
        a, b = values.pop(i), values.pop(j)
        op = ops[int(random01() * len(ops))]
        if a < b and (op == "-" or op == "/"):
            i, j, a, b = j + (j >= i), i - (i > j), b, a  # the larger first
        value = whole(a, b, op)
        if value is None:
            return None
        values.append(value)
        steps.append((i, j, op))
    return values[0], steps


def draw_problem(
    rng: random.Random, numbers: Sequence[int] = (3, 4), high: int = 99, target_high: int | None = None, ops: str = OPS
) -> tuple[tuple[int, ...], int, Steps]:
    """Numbers, target and the steps of a right expression, drawn from `rng`; of any split.

    A count is drawn from `numbers`, that many numbers from 1..high, and they are combined by operators drawn from
    `ops` (see `combine`). Where the end is not in 1..target_high (None: high), as many numbers are drawn anew.
    Raises ValueError where 100,000 draws gave nothing.
    """
    random01 = rng.random
    target_high = high if target_high is None else target_high
    many = numbers[int(random01() * len(numbers))]
    for _ in range(MAX_ATTEMPTS):
        drawn = tuple([1 + int(random01() * high) for _ in range(many)])
        made = combine(rng, drawn, ops)
        if made is not None and made[0] <= target_high:
            return drawn, made[0], made[1]
    raise ValueError(
        f"no problem found with {many} numbers up to {high}, targets up to {target_high} and {ops}: "
        "raise high or target_high, or allow more ops"
    )


def draw_uniform(
    rng: random.Random, numbers: Sequence[int] = (3, 4), high: int = 99, target_high: int | None = None,
    ops: str = OPS, targets: str = "any",
) -> tuple[tuple[int, ...], int]:  # fmt: skip
    """Numbers and a target, drawn uniformly until they can be solved; of any split.

    A count is drawn from `numbers`; then that many numbers from 1..high and a target from 10..target_high (None: high)
    until the numbers make the target through positive integers. So a problem that needs a fraction or a negative value
    on the way is never posed. Raises ValueError where 100,000 draws gave nothing.
    """
    random01 = rng.random
    span = (high if target_high is None else target_high) - TARGET_LOW + 1
    count = numbers[int(random01() * len(numbers))]
    for _ in range(MAX_ATTEMPTS):
        drawn = tuple([1 + int(random01() * high) for _ in range(count)])
        target = TARGET_LOW + int(random01() * span)
        if targets in ("any", kind_of(target)) and solvable(drawn, target, ops):
            return drawn, target
    raise ValueError(
        f"no problem found with {count} numbers up to {high}, targets from {TARGET_LOW} and {ops}: "
        "raise high or target_high, or allow more ops"
    )


_NUMBER = "[0-9]{1,7}"  # no task goes beyond a million
_NUMBERS = f"(?P<numbers>{_NUMBER}(?:[ ,]+{_NUMBER})+)"
_POSED = {
    "en": (f"{_NUMBERS} *= *(?P<target>{_NUMBER})", rf"(?i:make) (?P<target>{_NUMBER}) (?i:from) {_NUMBERS}\.?"),
    "zh": (f"用 *{_NUMBERS} *得到 *(?P<target>{_NUMBER})。?",),
}


@register("countdown")
class Countdown(Task):
    """Countdown problems; `task[i]` is a pure function of the settings, split, seed and i (but not of the language).

    numbers: how many numbers a problem has, one count or several to draw from, each in 2..10.
    high: the numbers are in 1..high. target_high: targets are in 1..target_high; None means high.
    ops: the operators, of + - * /. draw: "combine" makes a problem backwards from its numbers; "uniform" draws numbers
    and a target from 10 on, and keeps them where they can be solved (see `draw_uniform`). targets: with "uniform",
    "any" of them, or those that are "seen" or "unseen" (see `kind_of`). split: "train", "valid" or "test" (see `split_of`). language: "en" or "zh".
    Raises ValueError where a setting is unknown or impossible, or no problem of the split can be found.
    """

    def __init__(
        self,
        numbers: int | Sequence[int] = (3, 4),
        high: int = 99,
        split: str = "train",
        seed: int = 0,
        ops: str = OPS,
        target_high: int | None = None,
        language: str = "en",
        draw: str = "combine",
        targets: str = "any",
    ):
        counts = (numbers,) if isinstance(numbers, int) else tuple(numbers)
        if not counts or not all(isinstance(n, int) and 2 <= n <= 10 for n in counts):
            raise ValueError(f"numbers is {numbers!r}: give one count or several, each from 2 to 10")
        if not isinstance(high, int) or not 1 <= high <= 10**6:
            raise ValueError(f"high is {high!r}: give the largest number, from 1 to 1000000")
        if target_high is not None and (not isinstance(target_high, int) or target_high < 1):
            raise ValueError(f"target_high is {target_high!r}: give the largest target, 1 or more, or None for high")
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}: give one of {', '.join(SPLITS)}")
        if not isinstance(seed, int):
            raise ValueError(f"seed is {seed!r}: give an integer")
        if not isinstance(ops, str) or not ops or not set(ops) <= set(OPS) or len(set(ops)) != len(ops):
            raise ValueError(f"ops is {ops!r}: give some of {OPS} as one string, each once")
        if language not in PROMPTS:
            raise ValueError(f"language is {language!r}: give one of {', '.join(PROMPTS)}")
        if draw not in DRAWS:
            raise ValueError(f"draw is {draw!r}: give one of {', '.join(DRAWS)}")
        if targets not in TARGETS or (targets != "any" and draw != "uniform"):
            raise ValueError(f"targets is {targets!r}: give one of {', '.join(TARGETS)}; all but any need draw='uniform'")
        if draw == "uniform" and (high if target_high is None else target_high) < TARGET_LOW:
            raise ValueError(f"draw is 'uniform', whose targets begin at {TARGET_LOW}: raise high or target_high")
        self.draw, self.targets = draw, targets
        self.numbers, self.high, self.split, self.seed, self.ops, self.language = (
            counts, high, split, seed, ops, language,
        )  # fmt: skip
        self.target_high = high if target_high is None else target_high
        for count in counts:  # an impossible setting says so now, not in the middle of a run
            if draw == "combine":
                draw_problem(random.Random(0), (count,), high, target_high, ops)
            else:
                draw_uniform(random.Random(0), (count,), high, target_high, ops, targets)
        self[0]

    @classmethod
    def pose(cls, text: str) -> CountdownProblem | None:
        """A problem from ``3 7 2 = 17``, or worded as on the worksheets in English or Chinese; None for other text."""
        for language, forms in _POSED.items():
            match = next(filter(None, (re.fullmatch(form, text.strip()) for form in forms)), None)
            if match:
                numbers, target = [int(n) for n in re.findall("[0-9]+", match["numbers"])], int(match["target"])
                prompt = PROMPTS[language].format(numbers=" ".join(map(str, numbers)), target=target)
                return CountdownProblem(prompt, tuple(numbers), target, solution="")
        return None

    def __getitem__(self, i: int) -> CountdownProblem:
        """Problem number i >= 0 of this split and seed; a negative i raises IndexError."""
        i = operator.index(i)
        if i < 0:
            raise IndexError(f"problem {i}: problems are numbered from 0")
        settings = (self.numbers, self.high, self.target_high, self.ops)
        uniform = (self.draw, self.targets) if self.draw == "uniform" else ()
        rng = stream("countdown", self.split, self.seed, i, settings, *uniform)
        for _ in range(MAX_ATTEMPTS):
            if uniform:
                (numbers, target), steps = draw_uniform(rng, *settings, self.targets), None
            else:
                numbers, target, steps = draw_problem(rng, *settings)
            if split_of(numbers, target) == self.split:
                shown = " ".join(map(str, numbers))
                prompt = PROMPTS[self.language].format(numbers=shown, target=target)
                steps = solve(numbers, target, self.ops) if steps is None else steps
                assert steps is not None  # it was kept because it can be solved
                return CountdownProblem(prompt, numbers, target, write_expression(numbers, steps), self.ops)
        raise ValueError(f"no problem of the {self.split} split with these settings: raise high or target_high")
