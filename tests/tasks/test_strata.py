"""Strata against a search of its own, through fractions and negative values, as the verifier allows them."""

import random
from fractions import Fraction
from itertools import combinations

import pytest

from minidsk.tasks.countdown import Countdown
from minidsk.tasks.strata import needs_product, strata


def reachable(values, ops):
    """Every value that the numbers make, each used once."""
    if len(values) == 1:
        return {values[0]}
    found = set()
    for i, j in combinations(range(len(values)), 2):
        rest = [value for k, value in enumerate(values) if k not in (i, j)]
        a, b = values[i], values[j]
        made = [a + b] if "+" in ops else []
        made += [a - b, b - a] if "-" in ops else []
        made += [a * b] if "*" in ops else []
        made += [x / y for x, y in ((a, b), (b, a)) if y] if "/" in ops else []
        for value in made:
            found |= reachable([*rest, value], ops)
    return found


@pytest.mark.parametrize("ops", ["+-*/", "+-", "-*", "+/", "*/"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_need_of_a_product_by_brute_force(count, ops):
    rng = random.Random(count)
    for _ in range(6):
        numbers = [rng.randint(1, 12) for _ in range(count)]
        alone = reachable([Fraction(n) for n in numbers], ops.replace("*", "").replace("/", ""))
        for target in range(1, 40):
            assert needs_product(numbers, target, ops) == (target not in alone)


def test_a_problem_knows_its_strata():
    task = Countdown(numbers=(3, 4), high=20, seed=1)
    problems = [task[i] for i in range(60)]
    for problem in problems:
        assert problem.strata() == strata(problem.numbers, problem.target, problem.ops)
        used = set(problem.solution) & set("*/")
        assert used or problem.strata()["operators"] == "+ and - suffice"
    kinds = {tuple(problem.strata().items()) for problem in problems}
    assert kinds == {(("numbers", f"{n} numbers"), ("operators", o))
                     for n in (3, 4) for o in ("+ and - suffice", "* or / needed")}  # fmt: skip
