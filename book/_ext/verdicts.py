"""How a claim came out, from intervals, and how shares and differences are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minidsk.report.interval import interval

HELD, IN_PART, NOT_HERE, UNTESTED = "held", "held in part", "not at this size", "not tested yet"
VERDICTS = (HELD, IN_PART, NOT_HERE, UNTESTED)


class Finding(NamedTuple):
    """How a claim came out, one of `VERDICTS`, and our figure in words."""

    verdict: str
    figure: str


def share(values: Sequence[float]) -> str:
    """The mean of some shares in percent, and its interval, which ends at 0 and at 100; one value where all agree."""
    middle, half = interval(values)
    if not half:
        return f"{middle:.1%} (in every seed)"
    return f"{middle:.1%} ({max(middle - half, 0):.1%} to {min(middle + half, 1):.1%})"


def points(difference: tuple[float, float]) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * difference[0]:+.1f} ± {100 * difference[1]:.1f} points"


def above(difference: tuple[float, float]) -> bool:
    """Whether the whole interval lies above zero."""
    return difference[0] > difference[1]


def graded(*parts: bool) -> str:
    """Held where all parts of a claim are shown, in part where some are."""
    return HELD if all(parts) else IN_PART if any(parts) else NOT_HERE
