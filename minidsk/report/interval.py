"""Means over seeds and their 95 % intervals, by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t of a two-sided 95 % interval, by the number of values."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean of 2 to 10 values, and half the width of its 95 % interval. Raises `ValueError` for other numbers."""
    if len(values) not in T_95:
        raise ValueError(f"values: {len(values)} do not fit; give one a seed, from {min(T_95)} to {max(T_95)}")
    return mean(values), T_95[len(values)] * stdev(values) / math.sqrt(len(values))


def apart(ours: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The mean difference seed by seed, ours minus others', and half the width of its 95 % interval."""
    return interval([a - b for a, b in zip(ours, others, strict=True)])
