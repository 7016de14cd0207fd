"""How problems of Countdown are drawn, and which split and kind a problem belongs to."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from minidsk.tasks.expression import OPS, Steps, whole
from minidsk.tasks.solver import solvable

DRAWS = ("combine", "uniform")
TARGETS = ("any", "seen", "unseen")
TARGET_LOW = 10  # the smallest target of a uniform draw, as in TinyZero and Stream of Search
MAX_ATTEMPTS = 100_000  # draws before a setting counts as impossible


def split_of(numbers: Sequence[int], target: int) -> str:
    """The split, "train" (80 %), "valid" or "test" (10 % each), that owns a problem, whatever the order of its numbers.

    It depends on nothing but the sorted numbers and the target, so the splits of all seeds and settings are disjoint,
    and an author of training text can ask whether a problem is held out.
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
