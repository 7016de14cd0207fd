"""The solver against brute force: the same values, the same targets, and steps that lead there."""

import random

import pytest

from minidsk.data.worksheet import all_ways
from minidsk.tasks.expression import evaluate, write_chain, write_expression
from minidsk.tasks.solver import needs, solvable, solve, values


def brute(numbers, ops):
    """All that the numbers make, by going through every expression."""
    return {int(write_chain(numbers, steps)[-1]) for steps in all_ways(numbers, ops)}


@pytest.mark.parametrize("ops", ["+-*/", "+-", "*/", "-"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_numbers_by_brute_force(count, ops):
    rng = random.Random(count)
    for _ in range(20):
        numbers = tuple(rng.randint(1, 20) for _ in range(count))
        made = brute(numbers, ops)
        assert set(values(numbers, ops)[-1]) == made
        for target in range(1, 60):
            assert solvable(numbers, target, ops) == (target in made)
            steps = solve(numbers, target, ops)
            assert (steps is not None) == (target in made)
            if steps is not None:
                value, used, _ = evaluate(write_expression(numbers, steps))
                assert value == target
                assert sorted(used) == sorted(map(str, numbers))


def test_four_numbers_by_brute_force():
    numbers = (3, 3, 8, 12)
    made = brute(numbers, "+-*/")
    assert set(values(numbers)[-1]) == made
    assert {target for target in range(1, 101) if solvable(numbers, target)} == {t for t in made if t <= 100}


def test_five_numbers_are_solved():
    rng = random.Random(5)
    for _ in range(5):
        numbers = tuple(rng.randint(1, 99) for _ in range(5))
        target = rng.choice([value for value in values(numbers)[-1] if value < 1000])
        assert solvable(numbers, target)
        assert write_chain(numbers, solve(numbers, target))[-1] == str(target)


@pytest.mark.parametrize(("target", "part"), [(12, 3), (3, 12), (7, 7), (1, 5), (5, 1)])
def test_what_is_needed_beside_a_part(target, part):
    undone = {
        "+": lambda x: x + part, "-": lambda x: x - part, "*": lambda x: x * part, "/": lambda x: x / part,
        "~-": lambda x: part - x, "~/": lambda x: part / x,
    }  # fmt: skip
    found = needs(target, part)
    assert all(undone[op](x) == target for op, x in found)
    every = {(op, x) for op in undone for x in range(1, 100) if undone[op](x) == target}
    assert set(found) == every
