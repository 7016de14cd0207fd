"""What kind of problem a Countdown problem is: how many numbers it has, and whether it can do without * and /."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from minidsk.tasks.expression import OPS


def needs_product(numbers: Sequence[int], target: int, ops: str = OPS) -> bool:
    """Whether no expression of the numbers, each used once, makes `target` with what `ops` has of + and - alone.

    Numbers and target are above 0. Such an expression is a sum of the numbers with signs: no minus if there is no "-",
    and without a "+" at least one. The verifier allows negative values on the way, so every such sum can be written.
    """
    for signs in product((1, -1), repeat=len(numbers)):
        written = ("-" in ops or -1 not in signs) and ("+" in ops or -1 in signs)
        if written and sum(sign * number for sign, number in zip(signs, numbers, strict=True)) == target:
            return False
    return True


def strata(numbers: Sequence[int], target: int, ops: str = OPS) -> dict[str, str]:
    """The stratum that a problem belongs to, by what it is divided by: `numbers`, and `operators`."""
    operators = "* or / needed" if needs_product(numbers, target, ops) else "+ and - suffice"
    return {"numbers": f"{len(numbers)} numbers", "operators": operators}
