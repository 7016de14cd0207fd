"""Expressions of whole numbers with + - * /: a parser that computes exactly, and how to write them.

The parser is small, and what is parsed is never evaluated by Python.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from fractions import Fraction

OPS = "+-*/"

MAX_LENGTH = 200  # characters of an answer
MAX_DEPTH = 50  # parentheses inside one another

_TOKEN = re.compile(r"[ \t\r\n]*([0-9]+|[-+*/()])[ \t\r\n]*")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
_APPLY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def evaluate(expression: str) -> tuple[Fraction, list[str], set[str]]:
    """The exact value of an expression, the numbers as they are written in it, and the operators that it uses.

    Grammar: sum = product (("+" | "-") product)*, product = atom (("*" | "/") atom)*, atom = digits | "(" sum ")".
    There is no unary minus, power, decimal point or name; digits are 0 to 9; spaces are free between tokens.
    Raises ValueError where the text is not an expression, is longer than 200 characters, nests deeper than 50
    parentheses, or divides by zero.
    """
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"an expression has at most {MAX_LENGTH} characters")
    tokens, end = [], 0
    while end < len(expression):
        match = _TOKEN.match(expression, end)
        if match is None:
            raise ValueError(f"unexpected character {expression[end]!r}")
        tokens.append(match[1])
        end = match.end()
    tokens.append("")  # the end
    at = 0

    def fold(precedence: int, depth: int) -> int | Fraction:
        """A sum (precedence 1) or a product (2) that begins at `at`, folded from the left."""
        nonlocal at
        value = fold(2, depth) if precedence == 1 else atom(depth)
        while _PRECEDENCE.get(tokens[at]) == precedence:
            op = tokens[at]
            at += 1
            other = fold(2, depth) if precedence == 1 else atom(depth)
            if op == "/" and other == 0:
                raise ValueError("division by zero")
            value = Fraction(value) / other if op == "/" else _APPLY[op](value, other)  # whole numbers are faster
        return value

    def atom(depth: int) -> int | Fraction:
        nonlocal at
        token = tokens[at]
        at += 1
        if token.isdigit():
            return int(token)
        if token != "(":
            raise ValueError(f"expected a number, found {token or 'the end'}")
        if depth == MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} parentheses inside one another")
        value = fold(1, depth + 1)
        if tokens[at] != ")":
            raise ValueError(f"expected ), found {tokens[at] or 'the end'}")
        at += 1
        return value

    value = fold(1, 0)
    if tokens[at]:
        raise ValueError(f"expected an operator, found {tokens[at]}")
    return Fraction(value), [token for token in tokens if token.isdigit()], set(tokens) & set(OPS)


Steps = list[tuple[int, int, str]]  # each takes out part i, then part j of those left, and appends i op j


def write_expression(numbers: Sequence[int], steps: Sequence[tuple[int, int, str]]) -> str:
    """The expression that the steps make of the numbers, with the parentheses that it needs and no others."""
    parts = [(str(n), 3) for n in numbers]  # each with the precedence of its outermost operator
    for i, j, op in steps:
        (left, left_rank), (right, right_rank), rank = parts.pop(i), parts.pop(j), _PRECEDENCE[op]
        if left_rank < rank:
            left = f"({left})"
        if right_rank < rank or (right_rank == rank and op in "-/"):
            right = f"({right})"
        parts.append((left + op + right, rank))
    return parts[0][0]


def write_chain(numbers: Sequence[int], steps: Sequence[tuple[int, int, str]]) -> list[str]:
    """The expression, then what is left of it after each step: `["(3+7)*2", "10*2", "20"]`."""
    values, chain = list(numbers), [write_expression(numbers, steps)]
    for done, (i, j, op) in enumerate(steps, start=1):
        a, b = values.pop(i), values.pop(j)
        values.append(a // b if op == "/" else _APPLY[op](a, b))
        chain.append(write_expression(values, steps[done:]))
    return chain


def whole(a: int, b: int, op: str) -> int | None:
    """`a op b` where it is a positive integer, as on a worksheet; else None."""
    if op == "/":
        return a // b if a % b == 0 else None
    value: int = _APPLY[op](a, b)
    return value if value > 0 else None
