"""Compare outputs that another processor computes in another order: numbers within what a cell declares are equal.

A cell declares it in a comment of its own line, which the reader sees too:

    # tolerance: 0.02          each printed number may differ by 0.02
    # tolerance: 5%            ... by 5 % of the recorded number
    # tolerance: 5% + 0.02     ... by the sum of both

It covers the numbers of the cell's text and of the state of a moving figure, and nothing else: words, the count of
numbers, and the order of lines are compared exactly, and so is every number of a cell that declares nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIGURE = re.compile(r'data-minidsk="([0-9a-f]+)"')  # the name of a moving figure is a hash of its state
DRAWING = re.compile(r'<figure class="mdsk-diagram mdsk-plot".*?<figcaption>', re.DOTALL)  # its lines have any number
DECLARATION = re.compile(r"^# tolerance: *(?P<terms>.*?) *$", re.MULTILINE)
TERM = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)(?P<percent> ?%)?")
# With the spaces around it, because a shorter number is padded.
NUMBER = re.compile(r"([ \t]*[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?[ \t]*)")


@dataclass(frozen=True)
class Tolerance:
    """How far a number may be from the recorded one: `absolute`, plus `relative` times the recorded one's size."""

    absolute: float = 0.0
    relative: float = 0.0

    def covers(self, number: str, recorded: str) -> bool:
        """Whether the number, as printed, may stand for the recorded one."""
        a, b = _value(number), _value(recorded)
        return abs(a - b) <= (self.absolute + self.relative * abs(b)) * (1 + 1e-9)


def declared(source: str) -> Tolerance | None:
    """What the source of a cell declares, or None. Raises `ValueError` for a declaration that cannot be read."""
    found = DECLARATION.findall(source)
    if not found:
        return None
    terms = [TERM.fullmatch(term.strip()) for term in found[0].split("+")]
    if len(found) > 1 or not all(terms):
        raise ValueError(f"tolerance: {' / '.join(found)} cannot be read; write one line like '# tolerance: 5% + 0.02'")
    sums = {True: 0.0, False: 0.0}
    for term in filter(None, terms):
        sums[bool(term["percent"])] += float(term["number"])
    return Tolerance(sums[False], sums[True] / 100)


def snap(text: str, recorded: str, tolerance: Tolerance) -> str:
    """`text` with each number that is within the tolerance replaced by the recorded one.

    Where the words differ, or there are more numbers or fewer, it stays different.
    """
    for name, known in zip(FIGURE.findall(text), FIGURE.findall(recorded), strict=False):
        text = text.replace(name, known)
    drawings = iter(DRAWING.findall(recorded))
    text = DRAWING.sub(lambda drawn: next(drawings, drawn[0]), text)
    parts, wanted = NUMBER.split(text), NUMBER.split(recorded)
    if len(parts) != len(wanted) or parts[::2] != wanted[::2]:
        return text
    for i in range(1, len(parts), 2):
        if tolerance.covers(parts[i], wanted[i]):
            parts[i] = wanted[i]
    return "".join(parts)


def snap_outputs(outputs: list[Any], recorded: list[Any], tolerance: Tolerance) -> list[Any]:
    """The outputs of a cell, as notebooks hold them, with `snap` applied to every string that both have."""
    return [_snapped(a, b, tolerance) for a, b in zip(outputs, recorded, strict=False)] + outputs[len(recorded) :]


def _snapped(value: Any, recorded: Any, tolerance: Tolerance) -> Any:
    if isinstance(value, str) and isinstance(recorded, str):
        return snap(value, recorded, tolerance)
    if isinstance(value, Mapping) and isinstance(recorded, Mapping):
        return type(value)({
            key: _snapped(part, recorded[key], tolerance) if key in recorded and not key.startswith("image/") else part
            for key, part in value.items()
        })  # fmt: skip
    return value


def _value(number: str) -> float:
    return float(number.strip().replace(",", "").replace("−", "-"))
