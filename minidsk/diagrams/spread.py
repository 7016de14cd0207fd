"""Means over seeds with their intervals, as rows of dots or as lines with bands, in the colours of the look."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def dots(ax: Axes, rows: Mapping[str, tuple[float, float]], marked: Collection[str] = ()) -> None:
    """One row for each name, the first at the top: a dot at the mean, a line over the interval.

    rows: for each name the mean and half the width of its interval, as `minidsk.report.interval` returns them.
    marked: the names to be drawn in the second colour. Raises `ValueError` for a marked name without a row.
    """
    if lost := sorted(set(marked) - set(rows)):
        raise ValueError(f"marked: no row is called {', '.join(lost)}; there are {', '.join(rows)}")
    for y, (name, (middle, half)) in enumerate(rows.items()):
        colour = "C1" if name in marked else "C0"
        ax.errorbar(middle, y, xerr=half, fmt="o", color=colour, lw=2, capsize=4)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")


def band(ax: Axes, x: Sequence[float], points: Sequence[tuple[float, float]], label: str) -> None:
    """A line through the means, and a band over the intervals; points: mean and half the width, one for each x."""
    middles = [middle for middle, _ in points]
    [line] = ax.plot(x, middles, label=label)
    low, high = ([middle + side * half for middle, half in points] for side in (-1, 1))
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)
