"""Which targets numbers can make, each used once, through positive integers; and one way to make a target.

Values of subsets are merged (the sets that 1 and 2 make with those that 3 and 4 make, and so on), which for four
numbers takes about a millisecond where going through all expressions takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from minidsk.tasks.expression import OPS, Steps, whole

Made = tuple[int, int, str, int, int]  # the parts' values a and b, the operator, and the masks of their numbers


def values(numbers: Sequence[int], ops: str = OPS, proper: bool = False) -> list[dict[int, Made | None]]:
    """For each set of numbers, as a mask of bits: every value that they make, all used, and one way to make it.

    proper: leave the set of all numbers empty, by far the largest.
    """
    tables: list[dict[int, Made | None]] = [{} for _ in range(1 << len(numbers))]
    for mask in range(1, len(tables) - proper):
        if mask & (mask - 1) == 0:
            tables[mask][numbers[mask.bit_length() - 1]] = None
            continue
        part = (mask - 1) & mask
        while part > mask ^ part:  # each pair of parts once
            _merge(tables[mask], tables[part], tables[mask ^ part], ops, (part, mask ^ part))
            part = (part - 1) & mask
    return tables


def _merge(
    made: dict[int, Made | None], left: dict[int, Made | None], right: dict[int, Made | None], ops: str,
    masks: tuple[int, int],
) -> None:  # fmt: skip
    for a in left:
        for b in right:
            (x, y), (p, q) = ((a, b), masks) if a >= b else ((b, a), masks[::-1])
            for op in ops:
                value = whole(x, y, op)
                if value is not None and value not in made:
                    made[value] = (x, y, op, p, q)


def needs(target: int, part: int, ops: str = OPS) -> list[tuple[str, int]]:
    """What must be combined with `part` to make `target`: the operator in "x op part" or, with a "~" before it, in
    "part op x", and x; through positive integers."""
    found = [("-", target + part)]
    if target > part:
        found.append(("+", target - part))
    if part > target:
        found.append(("~-", part - target))
    if target % part == 0:
        found.append(("*", target // part))
    if part % target == 0:
        found.append(("~/", part // target))
    found.append(("/", target * part))
    return [(op, x) for op, x in found if op[-1] in ops]


def solvable(numbers: Sequence[int], target: int, ops: str = OPS) -> bool:
    """Whether all the numbers, each used once, make `target` through positive integers alone."""
    if len(numbers) == 1:
        return numbers[0] == target
    tables = values(numbers, ops, proper=True)
    everything = len(tables) - 1
    for part in range(1, everything):
        left, right = tables[part], tables[everything ^ part]
        if len(left) <= len(right) and any(x in right for a in left for _, x in needs(target, a, ops)):
            return True
    return False


def solve(numbers: Sequence[int], target: int, ops: str = OPS) -> Steps | None:
    """Steps that make `target` of all the numbers through positive integers, or None where there are none."""
    tables = values(numbers, ops)
    if target not in tables[-1]:
        return None
    parts = [1 << i for i in range(len(numbers))]  # the masks of what is left, in the order that steps count in
    steps: Steps = []

    def build(mask: int, value: int) -> None:
        made = tables[mask][value]
        if made is not None:
            a, b, op, left, right = made
            build(left, a)
            build(right, b)
            i = parts.index(left)
            parts.pop(i)
            j = parts.index(right)
            parts.pop(j)
            parts.append(mask)
            steps.append((i, j, op))

    build(len(tables) - 1, target)
    return steps
