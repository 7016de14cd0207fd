"""Countdown: reach a target from given numbers, each used exactly once, with + - * /.

The problems of TinyZero (Pan et al., 2025) and of Stream of Search (Gandhi et al., 2024). They are made backwards, by
combining numbers at random until one is left, or numbers and target are drawn uniformly and kept where they can be
solved. The verifier has a small parser of its own and computes with exact fractions.
"""

from __future__ import annotations

import functools
import operator
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from minidsk.tasks.base import SPLITS, Problem, Task, register, stream, thought_of
from minidsk.tasks.draw import DRAWS, MAX_ATTEMPTS, TARGET_LOW, TARGETS, draw_problem, draw_uniform, split_of
from minidsk.tasks.expression import OPS, evaluate, write_expression
from minidsk.tasks.solver import solve
from minidsk.tasks.strata import strata

PROMPTS = {"en": "Make {target} from {numbers}.\n", "zh": "用 {numbers} 得到 {target}。\n"}



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
        return 0.0 if answer is None else float(_solves(answer, self.numbers, self.target, self.ops))

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

    def strata(self) -> dict[str, str]:
        """By how many numbers there are, and by whether + and - suffice."""
        return strata(self.numbers, self.target, self.ops)


@functools.lru_cache(maxsize=2**14)  # a group often gives the same answer
def _solves(answer: str, numbers: tuple[int, ...], target: int, ops: str) -> bool:
    try:
        value, literals, used = evaluate(answer)
    except ValueError:
        return False
    # Compared as text, so that 07 is no 7.
    return sorted(literals) == sorted(map(str, numbers)) and used <= set(ops) and value == target


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
    ops: the operators, of + - * /. split: "train", "valid" or "test" (see `split_of`). language: "en" or "zh".
    draw: "combine" makes a problem backwards from its numbers; "uniform" draws numbers and a target from 10 on, and
    keeps them where they can be solved (see `draw_uniform`). targets: of a uniform draw, "any", or those that are
    "seen" or "unseen" (see `kind_of`).
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
            given = f"targets is {targets!r} and draw {draw!r}"
            raise ValueError(f"{given}: give one of {', '.join(TARGETS)}; all but any need draw='uniform'")
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
